#!/bin/sh
# Gives a node what each machine has for itself. Its process and host-name namespaces are there already, and its own /run;
# /run/node is the node's disk, which stays when the node goes.
set -eu

# A /sys of this network namespace, with the cgroups kept.
mkdir /run/cgroup
mount --rbind /sys/fs/cgroup /run/cgroup
mount -t sysfs sysfs /sys
mount --rbind /run/cgroup /sys/fs/cgroup
umount --recursive --lazy /run/cgroup
rmdir /run/cgroup

# The packages, as if installed; and what the kubelet, containerd and CNI write below /var.
mount -t overlay -o lowerdir=/run/packages/usr:/usr overlay /usr
mkdir -p /run/var/upper /run/var/work
mount -t overlay -o lowerdir=/var,upperdir=/run/var/upper,workdir=/run/var/work overlay /var
mkdir -p /var/log/pods /var/log/containers /var/lib/cni

# The kubelet sets these for the whole machine. It writes nothing where it reads the values that it wants.
mkdir /run/sysctl
while read -r name value; do
    echo "$value" >"/run/sysctl/$(echo "$name" | tr / .)"
    mount --bind "/run/sysctl/$(echo "$name" | tr / .)" "/proc/sys/$name"
done <<VALUES
vm/overcommit_memory 1
vm/panic_on_oom 0
kernel/panic 10
kernel/panic_on_oops 1
kernel/keys/root_maxkeys 1000000
kernel/keys/root_maxbytes 25000000
VALUES

# Pods see mounts that are made later. The machine doesn't: the node's mounts are its own.
mount --make-rshared /
