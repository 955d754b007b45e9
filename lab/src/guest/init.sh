#!/bin/busybox sh
# Init of the guest: modules, the read-only root, the network, then the function. What it has to know comes by QEMU's
# fw_cfg as shell variables. `runner` there is the number of the QEMU process that the guest is in now: after a live
# migration it reads differently, since fw_cfg is answered by whichever QEMU runs the guest.
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sys /sys
/bin/busybox mount -t devtmpfs dev /dev
/bin/busybox --install -s /bin
export PATH=/bin
for module in virtio_ring virtio virtio_pci_modern_dev virtio_pci_legacy_dev virtio_pci failover net_failover virtio_net virtio_blk squashfs qemu_fw_cfg; do
    # A module that is built in, or that another kernel does not have, is no failure; what is missing shows below.
    [ -e /lib/$module.ko ] && { insmod /lib/$module.ko || echo "forestall guest: $module did not load"; }
done
FW=/sys/firmware/qemu_fw_cfg/by_name/opt/forestall
. $FW/config/raw || echo "forestall guest: no configuration came by fw_cfg"
mount -t squashfs -o ro /dev/vda /root || echo "forestall guest: the root image could not be mounted"
mount --bind /proc /root/proc
mount --bind /sys /root/sys
mount --bind /dev /root/dev
ip link set lo up
ip link set eth0 up
ip addr add "$ADDRESS" dev eth0
# A burst of one I-frame must fit, and a late function must find what came meanwhile.
sysctl -q -w net.core.rmem_max=4194304 net.core.rmem_default=524288
# What makes the machine as large as is asked says so when its memory is full. Without it nothing is ready.
if [ -n "$BALLAST" ]; then
    mkfifo /ballast
    chroot /root /bin/sh -c "$BALLAST" > /ballast &
    read filled < /ballast || { echo "forestall guest: the ballast did not fill"; exec sleep 86400; }
fi
echo "forestall guest: ready after $(cut -d' ' -f1 /proc/uptime) s, boot $(cat /proc/sys/kernel/random/boot_id)"
while true; do
    chroot /root /bin/sh -c "$FUNCTION"
    echo "forestall guest: the function ended with $?"
    sleep 0.2
done
