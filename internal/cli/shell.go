package cli

// loginShell finds and becomes the shell of the user that it runs as: that of passwd, else bash, else sh. It needs
// nothing but a POSIX shell in the image.
const loginShell = `uid=$(id -u 2>/dev/null) || uid=0
shell=
while IFS=: read -r name _ id _ _ home entry; do
	if [ "$id" = "$uid" ]; then
		shell=$entry
		break
	fi
done 2>/dev/null </etc/passwd
for s in "$shell" /bin/bash; do
	if [ -n "$s" ] && [ -x "$s" ]; then
		export SHELL="$s"
		exec "$s" -l
	fi
done
exec /bin/sh -l`

// shellCommand is what is run where the user names no command.
func shellCommand() []string { return []string{"/bin/sh", "-c", loginShell} }

// commandOr returns the command, or that of a shell.
func commandOr(command []string) (argv []string, shell bool) {
	if len(command) == 0 {
		return shellCommand(), true
	}
	return command, false
}
