#!/bin/bash
# release.sh DIR: static programs and Debian packages for every processor, or those in
# $PROCESSORS, and their checksums. The same source gives the same bytes, wherever and whenever.
set -euo pipefail
umask 022
dir=$(realpath -m "$1")
cd "$(dirname "$0")/../.."
rm -rf "$dir"
mkdir -p "$dir"
programs=$(mktemp -d)
trap 'rm -rf "$programs"' EXIT
mkdir -p "$dir"
for arch in ${PROCESSORS:-amd64 arm64 arm 386 ppc64le s390x}; do
	env GOOS=linux GOARCH=$arch GOARM=6 GOAMD64=v1 GOARM64=v8.0 GO386=sse2 GOPPC64=power8 GOFLAGS= make --no-print-directory build BIN="$programs"
	for program in fanctl fanatic; do
		cp "$programs/$program" "$dir/${program}_${VERSION}_linux_$arch"
	done
	bash ifupdown/package/package.sh deb "$programs" $arch "$dir"
done
cd "$dir"
sha256sum -- * >"$dir.sums"
mv "$dir.sums" SHA256SUMS
