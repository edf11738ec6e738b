#!/bin/bash
# Runs every fuzz target of the module for FUZZTIME each.
set -eu
go=${GO:-go}
"$go" list -f '{{.Dir}} {{.ImportPath}}' ./... | while read -r dir package; do
	grep -ho '^func Fuzz[A-Za-z0-9_]*' "$dir"/*_test.go 2>/dev/null | sed 's/^func //' | while read -r target; do
		echo "fuzz $package $target"
		"$go" test -run '^$' -fuzz "^$target\$" -fuzztime "${FUZZTIME:-30s}" "$package" </dev/null
	done
done
