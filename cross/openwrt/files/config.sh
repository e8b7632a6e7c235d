# Reads /etc/config/coracle for coracle-job and /etc/init.d/coracle, which have read OpenWrt's functions.sh before.

CONFIG=/etc/config/coracle
NEWLINE='
'

# Tells the log, where runs of cron are read, and whoever is at the terminal: say LEVEL TEXT.
say() {
	logger -t coracle -p "daemon.$1" -- "$2"
	echo "coracle: $2" >&2
}

# Loads the sections as config_load does, but strictly. config_load skips what uci cannot read: below a heading that it skipped, the
# options of one job become those of the job before; after a quote without an end, all that follows is gone. Fails, and says where,
# when anything in the file cannot be read. Only what is committed counts: the path keeps uci from adding half of a change.
read_config() {
	local complaint text job line what
	PROBLEMS=
	[ -e "$CONFIG" ] || return 0
	if ! complaint=$(uci show "$CONFIG" 2>&1 >/dev/null) || ! text=$(uci export "$CONFIG" 2>/dev/null); then
		CONFIG_ERROR="$CONFIG: ${complaint#*uci: }"
		# For a quote without an end uci names the last line of the file.
		while IFS='	' read -r job line what; do
			[ "$job" != '*' ] || CONFIG_ERROR="$CONFIG_ERROR (line $line: $what)"
		done <<-END
			$(check_config)
		END
		say err "$CONFIG_ERROR. No job runs until this is mended"
		return 1
	fi
	if ! PROBLEMS=$(check_config); then
		CONFIG_ERROR="$CONFIG could not be checked"
		say err "$CONFIG_ERROR. No job runs"
		return 1
	fi
	eval "$text"
}

check_config() {
	awk -f /usr/share/coracle/check.awk "$CONFIG"
}

# What is wrong with the job $1, a line for each; fails when nothing is.
problems_of() {
	local job line what found=1
	while IFS='	' read -r job line what; do
		[ "$job" = "$1" ] || continue
		printf '%s, line %s: %s\n' "$CONFIG" "$line" "$what"
		found=0
	done <<-END
		$PROBLEMS
	END
	return $found
}

# Says what is wrong with the job $1; fails when nothing is.
refuse_job() {
	local problems problem
	problems=$(problems_of "$1") || return 1
	while read -r problem; do
		say err "job $1 does not run: $problem"
	done <<-END
		$problems
	END
}
