#!/bin/bash
# Installs the Debian packages that are missing. None of their services is started: a
# firewalld or dockerd would change the machine's firewall at once.
set -eu
missing=()
for package in "$@"; do
	dpkg-query -W -f '${Status}\n' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
done
[ ${#missing[@]} -eq 0 ] && exit 0
[ "$(id -u)" -eq 0 ] || { echo "missing Debian packages: ${missing[*]}; run this as root" >&2; exit 1; }
echo "installing ${missing[*]}"
log=$(mktemp)
policy=/usr/sbin/policy-rc.d
mark='# By tests/deps.sh of fan, while it installs; one that is left can be removed.'
ours=
trap 'rm -f "$log" ${ours:+"$policy"}' EXIT
# Bash then waits for apt before it goes, and dpkg is not ended in the middle.
trap 'exit 1' INT TERM HUP
# One at a time, so that none takes away what the other needs.
exec 9</etc/apt
flock 9
if [ ! -e "$policy" ] && [ ! -L "$policy" ] || grep -qsxF "$mark" "$policy"; then
	ours=yes
	printf '#!/bin/sh\n%s\nexit 101\n' "$mark" >"$policy"
	chmod 755 "$policy"
fi
export DEBIAN_FRONTEND=noninteractive
{ apt-get -qq update && apt-get -qq install -y -o DPkg::Lock::Timeout=300 --no-install-recommends "${missing[@]}"; } >"$log" 2>&1 9<&- || { tail -20 "$log" >&2; exit 1; }
[ ! -d /run/systemd/system ] || echo "what they have of services was not started; at the next boot it is, unless you disable it"
