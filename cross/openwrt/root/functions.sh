# Stands in for OpenWrt's /lib/functions.sh and /lib/config/uci.sh in cross/openwrt/test: the functions that our scripts call, as
# unkind as the real ones. What uci exports is run as shell commands; config_load reads leniently and says nothing of what it
# skipped; a name that is none is neither an error nor empty, but leaves the variable as it was.

N='
'

config_load() {
	local text
	CONFIG_SECTIONS='' CONFIG_SECTION='' CONFIG_NUM_SECTIONS=0
	text=$(/sbin/uci -P /var/state -S -n export "$1" 2>/dev/null) || return 1
	eval "$text"
}

package() {
	return 0
}

config() {
	CONFIG_NUM_SECTIONS=$((CONFIG_NUM_SECTIONS + 1))
	CONFIG_SECTION=${2:-cfg$CONFIG_NUM_SECTIONS}
	CONFIG_SECTIONS="${CONFIG_SECTIONS:+$CONFIG_SECTIONS }$CONFIG_SECTION"
	config_set "$CONFIG_SECTION" TYPE "$1"
}

option() {
	local name="$1"
	shift
	config_set "$CONFIG_SECTION" "$name" "$*"
}

list() {
	local name="$1" length all
	shift
	config_get length "$CONFIG_SECTION" "${name}_LENGTH" 0
	length=$((length + 1))
	config_set "$CONFIG_SECTION" "${name}_ITEM$length" "$*"
	config_set "$CONFIG_SECTION" "${name}_LENGTH" "$length"
	config_get all "$CONFIG_SECTION" "$name"
	config_set "$CONFIG_SECTION" "$name" "${all:+$all }$*"
}

config_set() {
	eval "CONFIG_${1}_${2}=\$3"
}

config_get() {
	case "$2${3:-$1}" in
	*[!A-Za-z0-9_]*) ;;
	*)
		case "$3" in
		'') eval "echo \"\${CONFIG_${1}_${2}:-\$4}\"" ;;
		*) eval "$1=\${CONFIG_${2}_${3}:-\$4}" ;;
		esac
		;;
	esac
}

config_get_bool() {
	local _value
	config_get _value "$2" "$3" "$4"
	case "$_value" in
	1 | on | true | yes | enabled) _value=1 ;;
	0 | off | false | no | disabled) _value=0 ;;
	*) _value=$4 ;;
	esac
	eval "$1=\$_value"
}

config_foreach() {
	local ___function="$1" ___type="$2" section cfgtype
	shift 2
	for section in $CONFIG_SECTIONS; do
		config_get cfgtype "$section" TYPE
		[ -z "$___type" ] || [ "$cfgtype" = "$___type" ] || continue
		eval "$___function \"\$section\" \"\$@\""
	done
}

config_list_foreach() {
	local section="$1" name="$2" function="$3" value length n=1
	shift 3
	config_get length "$section" "${name}_LENGTH"
	[ -n "$length" ] || return 0
	while [ "$n" -le "$length" ]; do
		config_get value "$section" "${name}_ITEM$n"
		eval "$function \"\$value\" \"\$@\""
		n=$((n + 1))
	done
}

default_postinst() {
	/etc/init.d/coracle enable
	/etc/init.d/coracle start
}

default_prerm() {
	/etc/init.d/coracle disable
	/etc/init.d/coracle stop
}
