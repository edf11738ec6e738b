#!/bin/bash
# Installs the Debian packages that are missing.
set -eu
missing=()
for package in "$@"; do
	dpkg-query -W -f '${Status}\n' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
done
[ ${#missing[@]} -eq 0 ] && exit 0
[ "$(id -u)" -eq 0 ] || { echo "missing Debian packages: ${missing[*]}; run this as root" >&2; exit 1; }
echo "installing ${missing[*]}"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
export DEBIAN_FRONTEND=noninteractive
{ apt-get -qq update && apt-get -qq install -y --no-install-recommends "${missing[@]}"; } >"$log" 2>&1 || { tail -20 "$log" >&2; exit 1; }
