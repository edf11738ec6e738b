#!/bin/bash
# Two hosts on one underlay, as network namespaces, with a container each: brings
# a fan up on both, shows it, pings and runs iperf3 across, and takes it down.
# For both types of tunnel.
set -eu
PATH=$(dirname "$(realpath "$1")"):$PATH
id=fandemo$$
hosts=("${id}a" "${id}b")
containers=("${id}ca" "${id}cb")

cleanup() {
	for ns in "${hosts[@]}" "${containers[@]}"; do
		ip netns pids "$ns" 2>/dev/null | xargs -r kill 2>/dev/null || true
		ip netns del "$ns" 2>/dev/null || true
	done
}
trap cleanup EXIT

in_ns() { local ns=$1; shift; nsenter --net="/run/netns/$ns" "$@"; }
say() { printf '\n\033[1m%s\033[0m\n' "$*"; }
run() { local ns=$1; shift; echo "[${ns#"$id"}] $*"; in_ns "$ns" "$@"; }

say "Two hosts, 10.0.0.8 and 10.0.0.45, on the underlay 10.0.0.0/16"
for ns in "${hosts[@]}" "${containers[@]}"; do ip netns add "$ns"; ip -n "$ns" link set lo up; done
ip link add eth0 netns "${hosts[0]}" type veth peer name eth0 netns "${hosts[1]}"
ip -n "${hosts[0]}" addr add 10.0.0.8/16 dev eth0
ip -n "${hosts[1]}" addr add 10.0.0.45/16 dev eth0
for ns in "${hosts[@]}"; do ip -n "$ns" link set eth0 up; done

# container NUMBER SLICE: a namespace with a veth into its host's fan bridge.
container() {
	local host=${hosts[$1]} ns=${containers[$1]} slice=$2 mtu
	mtu=$(in_ns "$host" cat /sys/class/net/fan-250/mtu 2>/dev/null || ip -n "$host" -o link show fan-250 | sed 's/.*mtu \([0-9]*\).*/\1/')
	ip link add eth0 mtu "$mtu" netns "$ns" type veth peer name c0 mtu "$mtu" netns "$host"
	ip -n "$host" link set c0 master fan-250 up
	ip -n "$ns" addr add "$slice.2/$3" dev eth0
	ip -n "$ns" link set eth0 up
	ip -n "$ns" route add default via "$slice.1"
}

for type in ipip vxlan; do
	say "A fan of type $type: what up would do on the first host"
	run "${hosts[0]}" fanctl up -u eth0/16 -o 250.0.0.0/8 --type $type --dry-run
	say "Up, on both"
	for ns in "${hosts[@]}"; do run "$ns" fanctl up -u eth0/16 -o 250.0.0.0/8 --type $type; done
	mask=24
	[ $type = vxlan ] && mask=8
	container 0 250.0.8 $mask
	container 1 250.0.45 $mask
	run "${hosts[0]}" fanctl show
	say "From the container 250.0.8.2 to the container 250.0.45.2"
	run "${containers[0]}" ping -c 3 -i 0.2 -W 2 250.0.45.2
	in_ns "${containers[1]}" iperf3 -s -1 -D >/dev/null
	sleep 0.5
	run "${containers[0]}" iperf3 -c 250.0.45.2 -t 3 -f g | grep -E 'sender|receiver'
	run "${hosts[0]}" fanctl show --json
	say "Down, on both"
	for i in 0 1; do
		ip -n "${hosts[$i]}" link del c0
		run "${hosts[$i]}" fanctl down -u eth0/16 -o 250.0.0.0/8
	done
	run "${hosts[0]}" ip -brief link
done
say "Done: nothing is left"
