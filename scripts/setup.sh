#!/usr/bin/env bash
# Installs the host packages that banger (run) and its tests (test) need, and only those that are missing.
set -euo pipefail

usage() { echo "usage: scripts/setup.sh run|test" >&2; exit 2; }
[ $# -eq 1 ] || usage

run=(qemu-system-x86 mmdebstrap uidmap busybox-static kmod debian-archive-keyring)
test=(e2fsprogs umoci skopeo buildah docker-registry apache2-utils zstd xz-utils lz4 bzip2 gzip cpio strace git curl openssh-client gcc libc6-dev)
case $1 in
run) want=("${run[@]}") ;;
test) want=("${run[@]}" "${test[@]}") ;;
*) usage ;;
esac

command -v dpkg-query >/dev/null || {
	echo "setup: this is not a Debian or Ubuntu system; install these yourself: ${want[*]}" >&2
	exit 1
}

missing=()
for p in "${want[@]}"; do
	[ "$(dpkg-query -W -f '${db:Status-Status}' "$p" 2>/dev/null)" = installed ] || missing+=("$p")
done

sudo=()
if [ "$(id -u)" -ne 0 ]; then sudo=(sudo); fi

if [ ${#missing[@]} -gt 0 ]; then
	echo "setup: installing ${missing[*]}" >&2
	if [ ${#sudo[@]} -gt 0 ] && ! command -v sudo >/dev/null; then
		echo "setup: root is needed for this and there is no sudo; as root run: apt-get install ${missing[*]}" >&2
		exit 1
	fi
	"${sudo[@]}" apt-get update -qq
	"${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
elif ! apt-cache show linux-image-cloud-amd64 >/dev/null 2>&1; then
	# The kernel is fetched by apt as an ordinary user, which needs the package lists.
	echo "setup: fetching the package lists" >&2
	"${sudo[@]}" apt-get update -qq
fi
