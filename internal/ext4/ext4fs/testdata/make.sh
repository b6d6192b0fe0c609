#!/bin/sh
# Makes the images that the tests damage; sums is the one with checksums. Needs e2fsprogs, zstd, and root for the device.
set -eu
cd "$(dirname "$0")"
PATH=$PATH:/usr/sbin:/sbin
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

mkdir "$dir/d" "$dir/d/e"
echo hello >"$dir/small"
ln "$dir/small" "$dir/d/hard"
ln -s small "$dir/link"
ln -s "$(printf '%0100d' 0)" "$dir/long"
mkfifo "$dir/fifo"
mknod "$dir/null" c 1 3
for i in 1 3 5 7 9 11 13 15 17 19 21 23; do # more extents than fit in an inode
	printf x | dd of="$dir/spots" bs=1024 seek=$i conv=notrunc status=none
done

export E2FSPROGS_FAKE_TIME=1600000000

make() { # name, size, options...
	name=$1 size=$2
	shift 2
	rm -f "$name.img"
	find "$dir" -exec touch -h -d @$E2FSPROGS_FAKE_TIME {} +
	mkfs.ext4 -q -F -b 1024 -E hash_seed=1b4e28ba-2fa1-11d2-883f-0016d3cca427,lazy_itable_init=0 \
		-U 1b4e28ba-2fa1-11d2-883f-0016d3cca427 -m 0 "$@" -d "$dir" "$name.img" "$size"
	debugfs -w -f /dev/stdin "$name.img" >/dev/null 2>&1 <<-END
		ea_set small user.a 1
		ea_set d user.b $(printf '%0300d' 0)
	END
	truncate -s "$size" "$name.img"
}
make ext2 64K -t ext2 -N 32 -I 128
make ext4 96K -O ^has_journal,^metadata_csum,^resize_inode -N 32
make sums 96K -O ^has_journal,metadata_csum,^resize_inode -N 32
make inline 96K -O ^has_journal,^metadata_csum,^resize_inode,inline_data -N 32
for i in $(seq 70); do ln "$dir/small" "$dir/d/e/another-name-of-it-$i"; done
make htree 96K -O ^has_journal,^metadata_csum,^resize_inode -N 32
e2fsck -fyD htree.img >/dev/null || test $? -eq 1
for name in ext2 ext4 sums inline htree; do
	zstd -q -19 -f --rm "$name.img"
done
