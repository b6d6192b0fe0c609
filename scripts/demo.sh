#!/usr/bin/env bash
# What README's first command ends with: a VM of the default image, made on the way, that shows what it is.
set -euo pipefail
cd "$(dirname "$0")/.."
exec bin/banger vm run --rm -- sh -c '
	. /etc/os-release
	echo
	echo "  This is $(uname -n), a microVM of its own."
	echo "  $PRETTY_NAME, kernel $(uname -r), $(nproc) CPUs, up $(cut -d" " -f1 /proc/uptime) s"
	echo
'
