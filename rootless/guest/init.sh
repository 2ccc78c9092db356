#!/bin/bash
# Process 1 of the guest: a User-Mode Linux kernel whose root file system is the
# pod's own (hostfs), seen with the rights of the user who started it.
#
# It talks with machine.py over the console. Lines that begin with "rootless:" are
# for it; what it sends are the lines "secret WORD", "load FILE" and "stop".
# The kernel hands over as variables what its command line sets: rootless_python,
# rootless_mirror where there is a mirror of the image registry, and rootless_guarded
# where the engine's user is not trusted.
export PATH=/run/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export HOME=/run LC_ALL=C

say() { echo "rootless: $*"; }

# When memory runs out, a container is ended and not the engine.
spare() { echo -999 > /proc/$1/oom_score_adj; }

power_off() {
    say "$@"
    sync
    echo o > /proc/sysrq-trigger
    sleep 10
}

stty -echo < /dev/tty0
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/pts /dev/shm /dev/mqueue
mount -t devpts -o mode=620,ptmxmode=666 devpts /dev/pts
mount -t tmpfs -o mode=1777 shm /dev/shm
mount -t mqueue mqueue /dev/mqueue
mount -t tmpfs run /run
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t tmpfs -o mode=755 etc /etc/docker
# A build in the guest's own network could listen to the door, and hear its secret.
[ -n "$rootless_guarded" ] &&
    echo '{"builder": {"entitlements": {"network-host": false}}}' > /etc/docker/daemon.json

mkdir -p /run/bin /run/modules/lib
ln -s /usr/lib/uml/modules /run/modules/lib/modules
modprobe --dirname /run/modules --quiet --all \
    overlay bridge br_netfilter veth ip_tables iptable_nat iptable_filter iptable_raw \
    ip6_tables ip6table_nat ip6table_filter xt_MASQUERADE xt_addrtype xt_comment \
    xt_conntrack xt_mark xt_multiport xt_nat xt_tcpudp
# The newer tables do not translate the addresses of bridged packets in this kernel.
for name in iptables ip6tables; do
    for part in "" -save -restore; do
        ln -s /usr/sbin/xtables-legacy-multi /run/bin/$name$part
    done
done

say stage network
ip link set lo up
ip link set vec0 up
ip address add 10.0.2.100/24 dev vec0
ip route add default via 10.0.2.2
echo 1 > /proc/sys/net/ipv4/ip_forward
# What the pod forwards arrives at the loopback address: a port that is published on
# 127.0.0.1 answers it, and nothing that listens there can be reached by containers.
echo 1 > /proc/sys/net/ipv4/conf/vec0/route_localnet
iptables -t nat -A PREROUTING -i vec0 -p tcp -j DNAT --to-destination 127.0.0.1
echo nameserver 10.0.2.3 > /run/resolv.conf
mount --bind /run/resolv.conf /etc/resolv.conf

mkdir -p /run/disk
mount -t ext4 -o noatime,discard /dev/ubda /run/disk || power_off failed no disk
mkdir -p /run/disk/docker /run/disk/tmp
export TMPDIR=/run/disk/tmp DOCKER_TMPDIR=/run/disk/tmp

say stage dockerd
dockerd --data-root /run/disk/docker --exec-root /run/docker --pidfile /run/docker.pid \
    --host unix:///run/docker.sock --storage-driver overlay2 --log-level warn --raw-logs \
    ${rootless_mirror:+--registry-mirror "$rootless_mirror"} &
dockerd=$!
spare $dockerd

line=
while kill -0 $dockerd 2> /dev/null; do
    IFS= read -r -t 1 part
    status=$?
    line+=$part  # on a busy machine the second may end in the middle of a line
    # More than 128: nothing more was said for a second. 1: who started us is gone. That
    # is told by tty0; read as /dev/console, the same console would stay silent.
    [ $status -gt 128 ] && continue
    [ $status -ne 0 ] && break
    read -r command argument <<< "$line"
    line=
    case $command in
        secret)
            "$rootless_python" -I -S "${0%/*}/doorman.py" <<< "$argument" &
            spare $!
            ;;
        load)
            docker --host unix:///run/docker.sock load --quiet --input "$argument" \
                && say loaded || say not-loaded
            ;;
        stop) break ;;
    esac
done < /dev/tty0

sync  # what follows may be cut short
kill -0 $dockerd 2> /dev/null && last=stopped || last="failed dockerd ended"
kill $dockerd 2> /dev/null
wait $dockerd
umount /run/disk
power_off "$last"
