#!/bin/bash
# package.sh deb|rpm PROGRAMS ARCH DIR: makes a package of a folder's programs, which
# are for ARCH (of Go; arm is version 6), and prints its path. $VERSION, $SOURCE_DATE_EPOCH: its version and date.
set -euo pipefail
umask 022
kind=$1 programs=$(realpath "$2") dir=$(realpath "$4")
export VERSION SOURCE_DATE_EPOCH PACKAGE_ARCH=$3
[ "$3" != arm ] || PACKAGE_ARCH=arm6
# The last version whose modules can all be had.
nfpm=github.com/goreleaser/nfpm/v2/cmd/nfpm@v2.43.4

here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$here/stage.sh" "$programs" "$work/root"
cp -r "$here/nfpm.yaml" "$here/$kind" "$work"
chmod -R u=rwX,go=rX "$work"
find "$work" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
cd "$work"
# It runs here, whatever it packs for.
env -u GOARCH -u GOOS -u GOARM GOFLAGS= "${GO:-go}" run "$nfpm" package -f nfpm.yaml -p "$kind" -t "$dir/" >log || { cat log >&2; exit 1; }
sed -n 's/^created package: //p' log
