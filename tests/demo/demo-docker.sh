#!/bin/bash
# Two hosts on one underlay, as network namespaces, with a real Docker daemon each:
# fanatic sets both up, a plain "docker run" on each gets an address of the fan, iperf3
# runs between the two containers, and all is taken down again.
set -eu
bin=$(dirname "$(realpath "$1")")
PATH=$bin:$PATH
id=fandemo$$
work=$(mktemp -d)
chmod 711 "$work"
hosts=(a b)
addresses=(10.0.0.8 10.0.0.45)

say() { printf '\n\033[1m%s\033[0m\n' "$*"; }
in_host() { local host=$1; shift; nsenter --net="/run/netns/$id$host" "$@"; }
# quiet HOST COMMAND... runs a command on a host; run tells it, too, wherever its output goes.
quiet() { local host=$1; shift; in_host "$host" env DOCKER_HOST="unix://$work/$host/docker.sock" DOCKER_CONFIG="$work" FANCTL_STATE="$work/$host/state" "$@"; }
exec 3>&1
run() { echo "[$1] ${*:2}" >&3; quiet "$@"; }

# Daemons keep to a mount namespace of their own, whose /run, /etc/docker and control
# groups nobody else sees: with it goes what they leave there.
cat >"$work/hierarchies" <<'HIERARCHIES'
#!/bin/bash
# hierarchies FOLDER: mounts the machine's control groups there
set -eu
if ! grep -qv :: /proc/self/cgroup; then # of version 2 alone
	mount -t cgroup2 cgroup2 "$1"
	exit
fi
mount -t tmpfs tmpfs "$1"
while IFS=: read -r _ names _; do
	[ -n "$names" ] || continue
	options=$names
	[ "${names#name=}" = "$names" ] || options=none,$names
	mkdir "$1/${names#name=}"
	mount -t cgroup -o "$options" cgroup "$1/${names#name=}"
done </proc/self/cgroup
HIERARCHIES
cat >"$work/daemon" <<'DAEMON'
#!/bin/bash
# daemon FOLDER: becomes the daemon that has this folder
set -eu
exec unshare --mount --propagation private bash -euc '
dir=$1
mkdir -p "$dir/groups"
"$(dirname "$dir")/hierarchies" "$dir/groups"
for root in "$dir"/groups/*/; do
	[ -e "${root}tasks" ] || continue
	group=$root$(basename "$(dirname "$dir")")
	mkdir -p "$group"
	for file in cpuset.cpus cpuset.mems; do [ ! -e "$group/$file" ] || cat "$root$file" >"$group/$file"; done
	echo $$ >"$group/cgroup.procs"
done
umount --recursive "$dir/groups"
exec unshare --cgroup bash -euc "$2" daemon "$dir"
' daemon "$1" '
dir=$1
"$(dirname "$dir")/hierarchies" "$dir/groups"
mount -t sysfs sysfs /sys
mount --move "$dir/groups" /sys/fs/cgroup
mount -t tmpfs tmpfs /run
[ ! -d /etc/docker ] || mount -t tmpfs tmpfs /etc/docker
exec dockerd --config-file "$dir/daemon.json" --data-root "$dir/data" --exec-root "$dir/exec" --pidfile "$dir/pid" --host "unix://$dir/docker.sock"
' >>"$1/log" 2>&1 </dev/null
DAEMON
# What fanatic restarts Docker with.
cat >"$work/restart" <<'RESTART'
#!/bin/bash
# restart FOLDER: ends the daemon that has this folder and starts it again
set -eu
dir=$1
if [ -e "$dir/pid" ]; then
	pid=$(cat "$dir/pid")
	kill "$pid"
	until [ ! -e "/proc/$pid" ] || [ "$(awk '{print $3}' "/proc/$pid/stat")" = Z ]; do sleep 0.1; done
fi
setsid "$(dirname "$dir")/daemon" "$dir" &
RESTART
chmod 755 "$work/hierarchies" "$work/daemon" "$work/restart"

cleanup() {
	local host
	mkdir -p "$work/groups"
	# The daemons and their containers, and their control groups, the deepest first.
	unshare --mount --propagation private bash -euc '
"$1/hierarchies" "$1/groups"
for _ in $(seq 100); do
	left=$(find "$1"/groups/*/"$(basename "$1")" -depth -type d 2>/dev/null || true)
	[ -n "$left" ] || exit 0
	for group in $left; do
		xargs -r kill -9 <"$group/cgroup.procs" 2>/dev/null || true
		rmdir "$group" 2>/dev/null || true
	done
	sleep 0.05
done' cleanup "$work"
	for host in "${hosts[@]}"; do
		ip netns pids "$id$host" 2>/dev/null | xargs -r kill 2>/dev/null || true
		ip netns del "$id$host" 2>/dev/null || true
	done
	rm -rf "$work"
}
trap cleanup EXIT

say "Two hosts, 10.0.0.8 and 10.0.0.45, on the underlay 10.0.0.0/16"
for host in "${hosts[@]}"; do ip netns add "$id$host"; ip -n "$id$host" link set lo up; done
ip link add eth0 netns "${id}a" type veth peer name eth0 netns "${id}b"
for i in 0 1; do
	ip -n "$id${hosts[$i]}" addr add "${addresses[$i]}/16" dev eth0
	ip -n "$id${hosts[$i]}" link set eth0 up
done

say "A Docker daemon on each"
mkdir -p "$work/bb/bin"
cp /bin/busybox "$work/bb/bin/"
for name in sh sleep; do ln -s busybox "$work/bb/bin/$name"; done
tar -C "$work/bb" -cf "$work/bb.tar" .
for host in "${hosts[@]}"; do
	mkdir -p "$work/$host/state"
	echo '{}' >"$work/$host/daemon.json"
	in_host "$host" "$work/restart" "$work/$host"
done
for host in "${hosts[@]}"; do
	until quiet "$host" docker version >/dev/null 2>&1; do sleep 0.1; done
	run "$host" docker version --format '{{.Server.Version}}'
	quiet "$host" docker import "$work/bb.tar" bb:1 >/dev/null
done

say "fanatic, on both"
for host in "${hosts[@]}"; do
	run "$host" fanatic configure --yes -u 10.0.0.0/16 -o 250.0.0.0/8 --no-lxd --file "$work/$host/fan" --docker-restart "$work/restart $work/$host"
done
run a fanatic show --file "$work/a/fan"

say "A container on each, without a published port"
for host in "${hosts[@]}"; do run "$host" docker run --detach --init --name "one-$host" bb:1 sleep 1000000 >/dev/null; done
pid() { quiet "$1" docker inspect --format '{{.State.Pid}}' "one-$1"; }
address() { quiet "$1" docker inspect --format '{{.NetworkSettings.IPAddress}}' "one-$1"; }
a=$(address a) b=$(address b)
in_container() { local host=$1; shift; nsenter --net="/proc/$(pid "$host")/ns/net" "$@"; }
say "From the container $a to the container $b"
in_container a ping -c 3 -i 0.2 -W 2 "$b"
in_container b iperf3 -s -1 -D >/dev/null
until in_container b ss -Hltn 'sport = 5201' | grep -q LISTEN; do sleep 0.1; done
in_container a iperf3 -c "$b" -t 3 -f g | grep -E 'sender|receiver'
say "From host to host"
in_host b iperf3 -s -1 -D >/dev/null
until in_host b ss -Hltn 'sport = 5201' | grep -q LISTEN; do sleep 0.1; done
in_host a iperf3 -c 10.0.0.45 -t 3 -f g | grep -E 'sender|receiver'

say "Everything as before, on both"
for host in "${hosts[@]}"; do
	run "$host" docker rm --force "one-$host" >/dev/null
	run "$host" fanatic deconfigure --yes --file "$work/$host/fan" --docker-restart "$work/restart $work/$host"
	echo "[$host] daemon.json: $(cat "$work/$host/daemon.json")"
	run "$host" ip -brief link
done
say "Done: nothing is left"
