#!/usr/bin/env bash
# Tries sandboxes on a machine that this one need not be: Debian 12 with nothing but cgroup v2, in QEMU. It runs
# `playhouse doctor --probe` as root, through sudo and without root, and the escape suite as root.
#
# Needs root (to build the machine's disk), qemu-system-x86, mmdebstrap, e2fsprogs and openssh-client, a way to a Debian
# mirror, and 6 GB of disk. Without KVM it is slow: count on half an hour.
set -euo pipefail
cd "$(dirname "$0")/.."
target=$(realpath "${CARGO_TARGET_DIR:-target}")
vm=$target/vm
port=${PLAYHOUSE_VM_PORT:-2222}

[ "$(id -u)" = 0 ] || { echo "scripts/vm.sh needs root: it builds a disk with files of several users" >&2; exit 3; }
for program in qemu-system-x86_64 mmdebstrap mkfs.ext4 ssh; do
  command -v $program >/dev/null || { echo "$program is missing: apt-get install qemu-system-x86 mmdebstrap e2fsprogs openssh-client" >&2; exit 3; }
done
mkdir -p "$vm"

if [ ! -f "$vm/disk.img" ]; then
  echo "building the machine"
  [ -f "$vm/key" ] || ssh-keygen -q -t ed25519 -N '' -f "$vm/key"
  rm -rf "$vm/root"
  packages=linux-image-cloud-amd64,initramfs-tools,systemd-sysv,udev,dbus-user-session,libpam-systemd,sudo,uidmap
  packages+=,e2fsprogs,python3,python3-pip,openssl,unzip,tar,zstd,openssh-server,iproute2,procps,ca-certificates,git
  mmdebstrap --quiet --variant=apt --include=$packages \
    --customize-hook='chroot "$1" useradd -m -s /bin/bash dev' \
    --customize-hook='echo "dev ALL=(ALL) NOPASSWD: ALL" > "$1/etc/sudoers.d/dev"' \
    --customize-hook='for home in root home/dev; do install -D -m 644 '"$vm"'/key.pub "$1/$home/.ssh/authorized_keys"; done' \
    --customize-hook='printf "[Match]\nName=en*\n[Network]\nDHCP=yes\n" > "$1/etc/systemd/network/vm.network"; chroot "$1" systemctl -q enable systemd-networkd' \
    --customize-hook='echo "/dev/vda / ext4 defaults 0 1" > "$1/etc/fstab"; echo vm > "$1/etc/hostname"; echo "127.0.0.1 localhost vm" > "$1/etc/hosts"' \
    bookworm "$vm/root"
  cp "$vm"/root/boot/vmlinuz-* "$vm/vmlinuz"
  cp "$vm"/root/boot/initrd.img-* "$vm/initrd"
  mkfs.ext4 -q -F -d "$vm/root" "$vm/new.img" 6G
  rm -rf "$vm/root"
  mv "$vm/new.img" "$vm/disk.img"
fi

accelerator=tcg,thread=multi
[ -w /dev/kvm ] && accelerator=kvm
qemu-system-x86_64 -accel $accelerator -cpu max -smp 2 -m 3G -kernel "$vm/vmlinuz" -initrd "$vm/initrd" \
  -append "root=/dev/vda rw console=ttyS0 systemd.unified_cgroup_hierarchy=1 quiet" \
  -drive "file=$vm/disk.img,if=virtio,format=raw" -snapshot -nic "user,model=virtio-net-pci,hostfwd=tcp:127.0.0.1:$port-:22" \
  -device virtio-rng-pci -display none -monitor none -serial "file:$vm/console.log" &
machine=$!
trap 'kill $machine 2>/dev/null' EXIT

as() { # as USER COMMAND
  ssh -q -i "$vm/key" -p "$port" -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o ConnectTimeout=10 "$1@127.0.0.1" "$2"
}
for _ in $(seq 100); do
  kill -0 $machine 2>/dev/null || { echo "the machine did not start" >&2; exit 1; }
  as root true && break
  sleep 3
done
put() { # put FILE NAME
  as root "mkdir -p /opt/playhouse && cat > /opt/playhouse/$2 && chmod 755 /opt/playhouse/$2" <"$1"
}
put "$target/debug/playhouse" playhouse
put "$target/debug/playhouse-agent" playhouse-agent
suite=$(cargo test -q -p playhouse-blackbox --test escape --no-run --message-format=json | sed -n 's/.*"executable":"\([^"]*escape-[^"]*\)".*/\1/p' | tail -n 1)
put "$suite" escape

status=0
try() { # try NAME USER COMMAND
  echo "== $1"
  as "$2" "$3" || { echo "failed: $1" >&2; status=1; }
}
try "the probes as root" root '/opt/playhouse/playhouse doctor --probe'
try "the probes through sudo" dev 'sudo -n /opt/playhouse/playhouse doctor --probe'
try "the probes without root" dev '/opt/playhouse/playhouse doctor --probe --rootless'
try "what root leaves" root 'test -z "$(losetup -a)" && test -z "$(find /sys/fs/cgroup/playhouse -mindepth 1 -type d)"'
try "the escape suite" root 'PLAYHOUSE_BIN=/opt/playhouse/playhouse /opt/playhouse/escape --test-threads=2'
exit $status
