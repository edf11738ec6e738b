#!/bin/sh
# version.sh [date]: the version of this source, or the time of its commit in seconds.
# Git says it, and in a tarball of "git archive" the file that git has filled in.
#
#	v1.2.3 -> 1.2.3    v1.2.3-rc.1 -> 1.2.3~rc.1    5 commits later -> 1.2.3+5.g0123456789ab
#	no tag -> 0.0.0+20261124203000.0123456789ab
set -eu
here=$(cd "$(dirname "$0")" && pwd)
pattern='v[0-9]*'

read -r hash time described <"$here/commit"
dirty=
case $hash in '$Format:'*)
	# Of this source and not of another one around it.
	if [ -e "$here/../../.git" ] && hash=$(git -C "$here" rev-parse HEAD 2>/dev/null); then
		time=$(git -C "$here" log -1 --format=%ct)
		described=$(git -C "$here" describe --tags --match "$pattern" --abbrev=12 2>/dev/null) || described=
		[ -z "$(git --no-optional-locks -C "$here" status --porcelain --untracked-files=no)" ] || dirty=.dirty
	else
		hash='' time=0 described=''
	fi ;;
esac

if [ "${1-}" = date ]; then
	echo "$time"
elif [ -n "$described" ]; then
	version=$(echo "${described#v}" | sed 's/-\([0-9]*\)-g\([0-9a-f]*\)$/+\1.g\2/; s/-/~/g')
	case $version in *+*) ;; *) dirty=${dirty:++dirty} ;; esac
	echo "$version$dirty"
elif [ -n "$hash" ]; then
	echo "0.0.0+$(date -u -d "@$time" +%Y%m%d%H%M%S).$(echo "$hash" | cut -c1-12)$dirty"
else
	echo 0.0.0+unknown
fi
