#!/bin/bash
# Runs all tests; arguments are for "go test". The whole-program tests go in three parts
# at once, because most of their time they wait.
set -u
go=${GO:-go}
# How fanctl gets on with other programs and with mistakes.
programs='Mend|Fire|UFW|DHCP|Hook|BadInput|Bridges|Form|Host'
# What is below a fan and beside it, and what goes past the host.
networks='Interop|Beside|Underlays|Reach|Policy|Way|Loopback|VRF|Receiver|Fast'
out=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null; rm -rf "$out"' EXIT
failed=0

"$go" test -timeout 40m "$@" -run "$programs" ./tests >"$out/programs" 2>&1 & programs_job=$!
"$go" test -timeout 40m "$@" -run "$networks" -skip "$programs" ./tests >"$out/networks" 2>&1 & networks_job=$!
"$go" test -timeout 40m "$@" -skip "$programs|$networks" ./tests >"$out/rest" 2>&1 & rest_job=$!
"$go" list ./... | grep -v '/tests$' | xargs "$go" test -timeout 40m "$@" || failed=1
for job in "$programs_job programs" "$networks_job networks" "$rest_job rest"; do
	wait "${job% *}" || failed=1
	cat "$out/${job#* }"
done
exit $failed
