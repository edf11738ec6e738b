#!/bin/sh
# stage.sh PROGRAMS DIR: puts everything that is installed below DIR, with modes that
# do not hang on the umask. PROGRAMS is the folder that has fanctl and fanatic.
set -eu
umask 022
programs=$(realpath "$1")
mkdir -p "$2"
to=$(realpath "$2")
cd "$(dirname "$0")"
source=../..

put() { # put FILE PATH: with the mode of data
	install -D -m 644 "$1" "$to$2"
}

for program in fanctl fanatic; do
	install -D -m 755 "$programs/$program" "$to/usr/sbin/$program"
done
for unit in fanctl.service fanctl-check.service fanctl-check.timer; do
	put $unit /usr/lib/systemd/system/$unit
done
put sandbox.conf /usr/lib/systemd/system/fanctl.service.d/sandbox.conf
put sandbox.conf /usr/lib/systemd/system/fanctl-check.service.d/sandbox.conf
put NetworkManager.conf /usr/lib/NetworkManager/conf.d/fanctl.conf
put networkd.network /usr/lib/systemd/network/10-fanctl.network
put udev.link /usr/lib/systemd/network/10-fanctl.link
put copyright /usr/share/doc/fanctl/copyright
put $source/README.md /usr/share/doc/fanctl/README.md
for page in "$source"/docs/man/*.[0-9]; do
	to_page=$to/usr/share/man/man${page##*.}/$(basename "$page").gz
	install -d -m 755 "$(dirname "$to_page")"
	gzip -9n <"$page" >"$to_page"
	chmod 644 "$to_page"
done
put $source/docs/cloud-init.yaml /usr/share/doc/fanctl/examples/cloud-init.yaml
for program in fanctl fanatic; do
	put $source/docs/completion/$program.bash /usr/share/bash-completion/completions/$program
	put $source/docs/completion/$program.zsh /usr/share/zsh/vendor-completions/_$program
	put $source/docs/completion/$program.fish /usr/share/fish/vendor_completions.d/$program.fish
done
