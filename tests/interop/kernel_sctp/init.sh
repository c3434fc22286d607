#!/bin/busybox sh
# First process of the virtual machine: loads modules, takes the host's / (read-only) as its root, runs /job there, switches off.
# Only /run, which is memory, can be written to.
busybox=/bin/busybox

$busybox mount -t proc proc /proc
$busybox mount -t sysfs sysfs /sys
$busybox mount -t devtmpfs devtmpfs /dev
while read -r module; do
    $busybox insmod "/modules/$module" || echo "init: $module was not loaded"
done < /modules/order

$busybox mount -t 9p -o trans=virtio,version=9p2000.L,ro,msize=512000,cache=loose host /host || echo "init: no root"
$busybox mount -t proc proc /host/proc
$busybox mount -t sysfs sysfs /host/sys
$busybox mount --bind /dev /host/dev
$busybox mount -t tmpfs tmpfs /host/run
$busybox mkdir -p /host/run/tmp
$busybox cp /job /host/run/job
$busybox ip link set lo up

$busybox chroot /host /bin/sh /run/job
echo "guest exited with $?"
$busybox poweroff -f
