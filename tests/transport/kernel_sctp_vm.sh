#!/bin/sh
# Runs the SCTP tests on a kernel that has SCTP: Debian's, in a virtual machine whose root is this host's, read-only.
#
#   tests/transport/kernel_sctp_vm.sh [pytest arguments]
#
# Needs qemu-system-x86_64, busybox (static), cpio, dpkg and a linux-image package: a file named by $LINUX_IMAGE_DEB, or what
# `apt-get download` finds. Takes one to three minutes without KVM ($QEMU_ACCEL=kvm where it works).
set -eu
project=$(cd "$(dirname "$0")/../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

if [ -z "${LINUX_IMAGE_DEB:-}" ]; then
    package=$(apt-cache depends linux-image-amd64 | sed -n 's/.*Depends: \(linux-image-[0-9].*\)/\1/p' | head -n 1)
    apt-get download -qq "$package"
    LINUX_IMAGE_DEB=$(echo "$work"/linux-image-*.deb)
fi
dpkg -x "$LINUX_IMAGE_DEB" image
modules=$(echo image/lib/modules/*/kernel)

# In the order of their dependencies.
wanted="drivers/virtio/virtio_ring drivers/virtio/virtio drivers/virtio/virtio_pci_legacy_dev drivers/virtio/virtio_pci_modern_dev
drivers/virtio/virtio_pci fs/netfs/netfs fs/fscache/fscache net/9p/9pnet net/9p/9pnet_virtio fs/9p/9p
net/ipv4/udp_tunnel net/ipv6/ip6_udp_tunnel crypto/crc32c_generic lib/libcrc32c net/sctp/sctp"
mkdir -p root/bin root/proc root/sys root/dev root/host root/modules
cp "$(command -v busybox)" root/bin/busybox
for module in $wanted; do
    cp "$modules/$module.ko" root/modules/
done

{
    echo '#!/bin/busybox sh'
    echo 'B=/bin/busybox; $B mount -t proc p /proc; $B mount -t sysfs s /sys; $B mount -t devtmpfs d /dev'
    for module in $wanted; do
        echo "\$B insmod /modules/${module##*/}.ko"
    done
    echo '$B mount -t 9p -o trans=virtio,version=9p2000.L,ro,msize=512000,cache=loose root /host'
    echo '$B mount -t tmpfs t /host/tmp; $B mount -t proc p /host/proc; $B mount -t sysfs s /host/sys; $B mount --bind /dev /host/dev'
    echo '$B ip link set lo up'
    echo "PATH=/usr/bin:/bin HOME=/tmp PYTHONDONTWRITEBYTECODE=1 \$B chroot /host /bin/sh -c 'cd $project && \
        .venv/bin/pytest -p no:cacheprovider tests/transport/test_sctp_associations.py $*'"
    echo 'echo "status=$?"; $B poweroff -f'
} > root/init
chmod +x root/init
(cd root && find . | cpio -o -H newc --quiet | gzip -1) > initramfs.gz

qemu-system-x86_64 -machine "q35,accel=${QEMU_ACCEL:-tcg}" -cpu max -m 2048 -smp 2 -nographic -no-reboot -nic none \
    -kernel image/boot/vmlinuz-* -initrd initramfs.gz -append "console=ttyS0 quiet panic=-1" \
    -fsdev local,id=root,path=/,security_model=none,readonly=on -device virtio-9p-pci,fsdev=root,mount_tag=root | tee output.txt
grep -q '^status=0' output.txt
