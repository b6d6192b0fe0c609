#!/usr/bin/env bash
# Runs a command where KVM works, on any Debian machine: in an emulated computer (QEMU, software emulation) whose CPU has
# AMD's SVM, so that its kernel's kvm-amd gives a real /dev/kvm. That computer's root is a copy of this machine's: all
# files are there, what the command writes is gone afterwards. See docs/kvm.md.
#
# usage: scripts/nested-kvm.sh [-m MiB] [-c CPUs] [-t seconds] command [argument...]
# The exit status is the command's; 124 when the time is over; 125 when the computer could not be started.
set -euo pipefail

memory=4096 cpus=2 limit=1200
usage() { sed -n 's/^# usage/usage/p' "$0" >&2; exit 2; }
while getopts m:c:t: option; do
	case $option in
	m) memory=$OPTARG ;;
	c) cpus=$OPTARG ;;
	t) limit=$OPTARG ;;
	*) usage ;;
	esac
done
shift $((OPTIND - 1))
[ $# -gt 0 ] || usage

fail() { echo "nested-kvm: $*" >&2; exit 125; }
PATH=$PATH:/usr/sbin:/sbin
for tool in qemu-system-x86_64 cpio busybox modprobe depmod dpkg-deb setpriv; do
	command -v $tool >/dev/null || fail "$tool is missing: apt-get install qemu-system-x86 cpio busybox-static kmod dpkg util-linux"
done

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# The kernel: the distribution's ordinary one, because the cloud kernel has no 9p. Fetched once, not installed.
meta=linux-image-amd64
package=$(apt-cache depends $meta | sed -n 's/^ *Depends: \(linux-image-[^ ]*\).*/\1/p' | head -n 1)
[ -n "$package" ] || fail "$meta depends on no kernel; run apt-get update"
cache=${XDG_CACHE_HOME:-$HOME/.cache}/banger-nested-kvm
tree=$cache/$package
if [ ! -d "$tree" ]; then
	(cd "$work" && apt-get -q download "$package" >&2) || fail "cannot download $package"
	dpkg-deb -x "$work"/linux-image-*.deb "$work/tree"
	version=$(basename "$work"/tree/lib/modules/*)
	depmod -b "$work/tree" "$version"
	mkdir -p "$cache"
	mv -T "$work/tree" "$tree" 2>/dev/null || [ -d "$tree" ] || fail "cannot keep the kernel in $cache"
fi
version=$(basename "$tree"/lib/modules/*)

# The initramfs: busybox, the modules for the root in the order in which they load, and the command.
root=$work/initramfs
mkdir -p "$root"/{bin,dev,proc,sys,host,upper,root,modules}
cp "$(command -v busybox)" "$root/bin/busybox"
n=100
for module in virtio_pci 9pnet_virtio 9p overlay kvm-amd virtio_net virtio-rng; do
	modprobe -d "$tree" -S "$version" --show-depends $module
done | awk '$1 == "insmod" && !seen[$2]++ { print $2 }' | while read -r file; do
	cp "$file" "$root/modules/$((n++))-$(basename "$file")"
done
cat > "$root/init" <<'EOF'
#!/bin/busybox sh
b=/bin/busybox
$b mount -t proc proc /proc
$b mount -t sysfs sys /sys
$b mount -t devtmpfs dev /dev
end() { echo "$1" > /dev/ttyS1; $b poweroff -f; }
for m in /modules/*.ko; do
	$b insmod $m 2>/dev/null || echo "nested-kvm: $m does not load"
done
$b mount -t 9p -o trans=virtio,version=9p2000.L,msize=512000,cache=loose,ro host /host || end 125
$b mount -t tmpfs -o mode=755 tmpfs /upper || end 125
$b mkdir /upper/files /upper/work
$b mount -t overlay -o lowerdir=/host,upperdir=/upper/files,workdir=/upper/work overlay /root || end 125
for d in proc sys dev; do $b mount -o move /$d /root/$d; done
$b mkdir -p /root/dev/shm /root/dev/pts
$b mount -t devpts devpts /root/dev/pts
$b mount -t tmpfs -o mode=1777 tmpfs /root/dev/shm
$b mount -t tmpfs -o mode=755 tmpfs /root/run
$b chmod 666 /root/dev/kvm || { echo "nested-kvm: the emulated CPU gives no /dev/kvm"; dmesg | $b tail -n 20; }
$b ip link set lo up
$b ip address add 10.0.2.15/24 dev eth0
$b ip link set eth0 up
$b ip route add default via 10.0.2.2
echo nameserver 10.0.2.3 > /root/run/resolv.conf
$b mount -o bind /root/run/resolv.conf /root/etc/resolv.conf
$b cp /command /root/run/nested-kvm-command
$b chroot /root /bin/bash /run/nested-kvm-command </root/dev/null >/root/dev/console 2>&1
status=$?
$b sync
echo $status > /root/dev/ttyS1
$b poweroff -f
EOF
chmod 755 "$root/init"
{
	for name in PATH HOME USER LANG GOPATH GOMODCACHE GOCACHE GOFLAGS GOTOOLCHAIN; do
		if [ -n "${!name-}" ]; then echo "export $name=${!name@Q}"; fi
	done
	# What the tests read.
	env -0 | while IFS='=' read -r -d '' name value; do
		if [[ $name == BANGER_* || $name == SMOKE ]]; then echo "export $name=${value@Q}"; fi
	done
	echo "export XDG_RUNTIME_DIR="
	echo "cd ${PWD@Q}"
	echo "exec setpriv --reuid $(id -u) --regid $(id -g) --clear-groups --" "${@@Q}"
} > "$root/command"
(cd "$root" && find . -print0 | cpio --quiet -0 -o -H newc -R 0:0) > "$work/initrd"

: > "$work/status"
started=$SECONDS
timeout --foreground "$limit" qemu-system-x86_64 -nodefaults -no-user-config -no-reboot -display none \
	-machine q35 -accel tcg,thread=multi -cpu max,+svm -smp "$cpus" -m "$memory" \
	-kernel "$tree"/boot/vmlinuz-* -initrd "$work/initrd" -append 'console=ttyS0 quiet panic=-1' \
	-chardev stdio,id=console,signal=on -serial chardev:console -serial "file:$work/status" \
	-virtfs local,path=/,mount_tag=host,security_model=none,readonly=on,multidevs=remap \
	-nic user,model=virtio-net-pci -device virtio-rng-pci </dev/null | sed -u 's#\r$##' || {
	status=${PIPESTATUS[0]}
	if [ "$status" -eq 124 ]; then echo "nested-kvm: not finished after $limit s" >&2; exit 124; fi
	fail "qemu ended with status $status"
}
status=$(tr -dc 0-9 < "$work/status")
[ -n "$status" ] || fail "the emulated computer crashed"
echo "nested-kvm: status $status after $((SECONDS - started)) s" >&2
exit "$status"
