# Stands in for OpenWrt's /lib/functions.sh and its libraries in cross/openwrt/test: the functions that our scripts call, as far as
# these use them, with a reader of /etc/config in the place of uci.

config_load() {
	eval "$(awk -v q="'" '
		function value(text) {
			sub(/^[ \t]*/, "", text)
			if (text ~ /^\x27/) { sub(/^\x27/, "", text); sub(/\x27[ \t]*$/, "", text) }
			else if (text ~ /^"/) { sub(/^"/, "", text); sub(/"[ \t]*$/, "", text) }
			gsub(q, q "\\" q q, text)
			return q text q
		}
		{ line = $0; sub(/^[ \t]+/, "", line) }
		line ~ /^config / { section = $3; gsub(/[\x27"]/, "", section); if (section == "") section = "cfg" ++unnamed
			print "CONFIG_SECTIONS=\"$CONFIG_SECTIONS " section "\""
			print "CONFIG_" section "_TYPE=" $2 }
		line ~ /^(option|list) / { kind = $1; name = $2; text = line; sub(/^[a-z]+[ \t]+[^ \t]+/, "", text)
			if (kind == "option") print "CONFIG_" section "_" name "=" value(text)
			else { n = ++lists[section, name]; print "CONFIG_" section "_" name "_ITEM" n "=" value(text)
				print "CONFIG_" section "_" name "_LENGTH=" n } }
	' "/etc/config/$1")"
}

config_get() {
	eval "$1=\${CONFIG_${2}_${3}:-\$4}"
}

config_get_bool() {
	config_get "$@"
	eval "case \$$1 in 1 | on | true | yes | enabled) $1=1 ;; *) $1=0 ;; esac"
}

config_foreach() {
	local section type
	for section in $CONFIG_SECTIONS; do
		config_get type "$section" TYPE
		[ "$type" = "$2" ] && "$1" "$section"
	done
	return 0
}

config_list_foreach() {
	local item length n=1
	config_get length "$1" "$2_LENGTH" 0
	while [ "$n" -le "$length" ]; do
		config_get item "$1" "$2_ITEM$n"
		"$3" "$item"
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
