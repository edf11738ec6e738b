#!/bin/bash
# Runs every fuzz target of the module for FUZZTIME each, one on each processor at a
# time.
set -eu
export GO=${GO:-go} FUZZTIME=${FUZZTIME:-30s}
"$GO" list -f '{{.Dir}} {{.ImportPath}}' ./... | while read -r dir package; do
	grep -ho '^func Fuzz[A-Za-z0-9_]*' "$dir"/*_test.go 2>/dev/null | sed "s|^func |$package |"
done | xargs -P "$(nproc)" -L 1 bash -c '
	out=$("$GO" test -run "^\$" -fuzz "^$1\$" -fuzztime "$FUZZTIME" -parallel 1 "$0" </dev/null 2>&1) || { echo "$out"; exit 255; }
	printf "fuzz %s %s\n%s\n" "$0" "$1" "$out"'
