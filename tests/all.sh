#!/bin/bash
# Runs all tests; arguments are for "go test". The whole-program tests go in two halves
# at once, because most of their time they wait.
set -u
go=${GO:-go}
# About half of their time: how fanctl gets on with other programs and with mistakes.
half='Mend|Fire|UFW|DHCP|Hook|BadInput|Bridges|Form|Host'
out=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null; rm -rf "$out"' EXIT
failed=0

"$go" test -timeout 25m "$@" -run "$half" ./tests >"$out/half" 2>&1 & halves=$!
"$go" test -timeout 25m "$@" -skip "$half" ./tests >"$out/other" 2>&1 & others=$!
"$go" list ./... | grep -v '/tests$' | xargs "$go" test -timeout 25m "$@" || failed=1
for job in "$halves half" "$others other"; do
	wait "${job% *}" || failed=1
	cat "$out/${job#* }"
done
exit $failed
