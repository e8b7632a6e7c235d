#!/bin/sh
# Installs coracle on a NAS or a router that has no package of it. Nothing outside of one directory is touched.
#
#   ./install.sh [DIRECTORY]
#
# DIRECTORY must outlive a restart; without it the system's own place is taken: the default volume of a QNAP, /usr/local/coracle on a
# Synology, /opt/coracle where Entware is. Running it again replaces the program and keeps everything else. To remove coracle remove
# DIRECTORY and the lines of your scheduler.

set -u

main() {
	local from into version
	from=$(cd "$(dirname "$0")" && pwd) || exit 1
	case ${1-} in
	-*) usage ;;
	'') into=$(find_place) || fail "name a directory that outlives a restart: $0 DIRECTORY" ;;
	/*) into=$1 ;;
	*) into=$PWD/$1 ;;
	esac
	[ $# -le 1 ] || usage
	version=$("$from/coracle" --version 2>/dev/null) ||
		fail "this program is not for this machine ($(uname -m)); take the archive that is"
	umask 022
	mkdir -p "$into" || fail "$into cannot be made"
	# What coracle remembers, and passwords: for the user alone that runs it.
	(umask 077 && mkdir -p "$into/state" "$into/passwords") || fail "$into cannot be written"
	place "$from/coracle" "$into/coracle"
	place "$from/run" "$into/run"
	echo "$version is in $into. A line for your scheduler:"
	echo
	echo "    $into/run upload -q --password-file $into/passwords/nas /path/to/photos ftps://me@example.org/photos"
	echo
	echo "Write the password into the first line of $into/passwords/nas, and try the line with --dry-run first."
}

usage() {
	sed -n '2,/^$/s/^# \{0,1\}//p' "$0" >&2
	exit 2
}

fail() {
	echo "install.sh: $*" >&2
	exit 1
}

find_place() {
	local volume
	if [ -e "$ROOT/etc/config/uLinux.conf" ]; then
		# The root of a QNAP lies in memory.
		volume=$(getcfg SHARE_DEF defVolMP -f /etc/config/def_share.info 2>/dev/null) && [ -d "$volume" ] || return 1
		echo "$volume/.coracle"
	elif [ -e "$ROOT/etc/synoinfo.conf" ]; then
		echo "$ROOT/usr/local/coracle"
	elif [ -e "$ROOT/opt/etc/entware_release" ]; then
		echo "$ROOT/opt/coracle"
	else
		return 1
	fi
}

# Beside, compared, then moved: a full disk leaves what was there, and a run under way keeps the program that it began with.
place() {
	if rm -f "$2.new" && cp "$1" "$2.new" && chmod 755 "$2.new" && cmp -s "$1" "$2.new" && mv -f "$2.new" "$2"; then
		return
	fi
	rm -f "$2.new"
	fail "$2 could not be written and is what it was"
}

# Where the system lies; tests have another one.
ROOT=${CORACLE_INSTALL_ROOT-}

main "$@"
