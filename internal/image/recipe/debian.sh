set -eu
root=$1

write() { # FILE: the standard input
	mkdir -p "$root/$(dirname "$1")"
	cat >"$root/$1"
}

# Identity is given to each machine when it starts. An empty machine-id, other than none, is no "first boot" to systemd.
: >"$root/etc/machine-id"
rm -f "$root/var/lib/dbus/machine-id" "$root/etc/hostname" "$root/etc/resolv.conf" "$root"/etc/ssh/ssh_host_*
ln -s /etc/machine-id "$root/var/lib/dbus/machine-id"
: >"$root/etc/resolv.conf"
write etc/hosts <<'END'
127.0.0.1	localhost
::1	localhost ip6-localhost ip6-loopback
ff02::1	ip6-allnodes
ff02::2	ip6-allrouters
END

# apt reads the sources by which this was made.
if [ -e "$root/etc/apt/sources.list.d/0000debian.sources" ]; then
	mv "$root/etc/apt/sources.list.d/0000debian.sources" "$root/etc/apt/sources.list.d/debian.sources"
fi

echo 'LANG=C.UTF-8' | write etc/default/locale
: >"$root/etc/fstab"
: >"$root/etc/motd"
rm -f "$root"/etc/update-motd.d/*

# root has no password that could be given anywhere: commands come through the agent.
chroot "$root" usermod --password '*' root

# What runs at night is for machines that live longer; see also debianOnDemand.
chroot "$root" systemctl --quiet disable apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer \
	e2scrub_all.timer e2scrub_reap.service fstrim.timer getty@.service remote-fs.target systemd-pstore.service
# Nothing is found by looking at disks or consoles. fstab is still read, should the user write one.
mkdir -p "$root/etc/systemd/system-generators"
for generator in cryptsetup getty gpt-auto hibernate-resume integritysetup veritysetup; do
	ln -s /dev/null "$root/etc/systemd/system-generators/systemd-$generator-generator"
done
chroot "$root" systemctl set-default --quiet multi-user.target

# Without this directory the journal stays in memory, and starts sooner.
rm -rf "$root/var/log/journal"
write etc/systemd/journald.conf.d/banger.conf <<'END'
[Journal]
Storage=volatile
RuntimeMaxUse=32M
END
# A machine that is told to stop should do so: what hangs is killed soon.
write etc/systemd/system.conf.d/banger.conf <<'END'
[Manager]
DefaultTimeoutStopSec=10s
END

write root/.bashrc <<'END'
# Read by interactive shells.
case $- in *i*) ;; *) return ;; esac

HISTCONTROL=ignoreboth
HISTSIZE=10000
HISTFILESIZE=20000
shopt -s histappend checkwinsize

PS1='\u@\h:\w\$ '
if [ "${TERM:-dumb}" != dumb ] && [ -z "${NO_COLOR:-}" ]; then
	PS1='\[\e[1;32m\]\u@\h\[\e[0m\]:\[\e[1;34m\]\w\[\e[0m\]\$ '
	eval "$(dircolors -b)"
	alias ls='ls --color=auto' grep='grep --color=auto'
fi
alias ll='ls -l' la='ls -la'

if [ -r /usr/share/bash-completion/bash_completion ]; then
	. /usr/share/bash-completion/bash_completion
fi
END
write root/.profile <<'END'
# Read by login shells.
export PATH="$HOME/.local/bin:$PATH"
if [ -n "${BASH_VERSION:-}" ] && [ -r ~/.bashrc ]; then
	. ~/.bashrc
fi
END
printf 'set nocompatible backspace=2 ruler\n' | write root/.vimrc.tiny
chmod 644 "$root/root/.bashrc" "$root/root/.profile" "$root/root/.vimrc.tiny"

# What apt, dpkg and others remember of the making. /tmp is mmdebstrap's own until it ends.
rm -rf "$root"/var/lib/apt/lists/* "$root"/var/cache/apt/*.bin "$root"/var/cache/apt/archives/*.deb \
	"$root"/var/cache/debconf/*-old "$root"/var/lib/dpkg/*-old "$root"/var/cache/ldconfig/aux-cache \
	"$root"/var/lib/systemd/random-seed "$root"/etc/.pwd.lock "$root"/etc/*- "$root"/run/* "$root"/var/tmp/*
find "$root/var/log" -type f -delete

# Nothing under /usr is newer than what was last made from it: systemd need not update caches when it starts.
touch "$root/etc/.updated" "$root/var/.updated" "$root/usr"
