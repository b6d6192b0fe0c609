#!/usr/bin/env bash
# Fails when a generated document differs from what the program says now.
set -euo pipefail
cd "$(dirname "$0")/.."
status=0
check() { # FILE COMMAND...
	local file=$1
	shift
	if ! diff -u "$file" <("$@"); then
		echo "docs-check: $file is out of date: run make docs" >&2
		status=1
	fi
}
check docs/openapi.json bin/banger internal openapi
check docs/cli.md bin/banger internal clidoc
exit $status
