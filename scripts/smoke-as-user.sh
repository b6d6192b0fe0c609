#!/usr/bin/env bash
# Runs smoke scenarios as an ordinary user that it makes, when run by root: nothing that banger does needs root.
# Scenarios as in SMOKE=a,b; default: those whose outcome could depend on who runs them.
set -euo pipefail
cd "$(dirname "$0")/.."
user=banger-ci
scenarios=${1:-bare_run,command_exit_status,stdin_pipe,vm_lifecycle,concurrent_run,systemd_run,no_privileged_call}

id "$user" >/dev/null 2>&1 || useradd --create-home --shell /bin/bash "$user"
dir=$(mktemp -d "/home/$user/smoke-XXXXXX")
trap 'rm -rf "$dir"' EXIT
cp bin/banger bin/banger-agent "$dir/"
go test -tags smoke -c -o "$dir/smoke.test" ./test/smoke
chown -R "$user": "$dir"
cd "$dir"
# A fresh environment, as a login would give; no XDG_RUNTIME_DIR, as over su.
runuser -u "$user" -- env -i HOME="/home/$user" USER="$user" PATH=/usr/local/bin:/usr/bin:/bin TERM="${TERM:-dumb}" \
	SMOKE="$scenarios" BANGER_BIN="$dir/banger" "$dir/smoke.test" -test.v -test.count=1 -test.timeout=20m
