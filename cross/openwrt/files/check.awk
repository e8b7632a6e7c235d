# Tells what is wrong with /etc/config/coracle and would pass without a word otherwise, a line for each: job, tab, line of the file,
# tab, what is wrong. uci itself refuses what it cannot read; this is for what it reads in another way than its author meant: two
# sections of one name become one, the second `option` replaces the first, a forgotten quote swallows the next line, a misspelt
# option is nobody's.
#
# The job is * where it cannot be told. A section without a name counts as cfgN, as in OpenWrt's functions.sh.

BEGIN {
	tab = "\t"
	# What an option takes: a word of these, a yes or no, a list, or any one text.
	split("command local remote password_file schedule check_file resolve case max_delete max_duration limit_rate connections " \
		"timeout retries min_age trash trash_days ca_file ssh_command", texts, " ")
	split("enabled delete delete_unmatched delete_ours create_folder quick_scan no_remote_scan accept_new_host_key", flags, " ")
	split("exclude match argument pin", lists, " ")
	for (i in texts) kind[texts[i]] = "text"
	for (i in flags) kind[flags[i]] = "flag"
	for (i in lists) kind[lists[i]] = "list"
}

# Words as uci cuts them, which may go on over the end of a line within quotes.
{
	if (quote == "" && !joined) start()
	joined = 0
	length_of = length($0)
	for (at = 1; at <= length_of; at++) {
		c = substr($0, at, 1)
		if (quote == "" && (c == " " || c == tab || c == "\r")) end_word()
		else if (quote == "" && c == "#") break
		else if (quote == "" && c == ";") {
			end_word()
			command()
			problem(job == "" ? "*" : job, NR, "uci reads nothing behind a semicolon: quote the value, or begin a new line")
			break
		}
		else if (quote == "" && (c == "'" || c == "\"")) { quote = c; inside = 1 }
		else if (quote != "" && c == quote) quote = ""
		else if (c == "\\" && quote != "'") {
			if (at == length_of) { joined = 1; break }
			word = word substr($0, ++at, 1); inside = 1
		} else { word = word c; inside = 1 }
	}
	if (joined) next
	if (quote != "") {
		# Where a forgotten quote is: uci itself names the last line, because the quotes below close and open each other.
		if (!open) open = NR
		word = word "\n"
	}
	else { end_word(); command() }
}

END {
	if (quote != "") problem("*", open, "a quote has no end there")
	leave_section()
}

function start() {
	words = 0; word = ""; inside = 0; first = NR
}

function end_word() {
	if (inside) w[++words] = word
	word = ""; inside = 0
}

function command(  key) {
	if (words == 0) return
	key = w[1]
	if (key == "config" || key == "c") heading(w[2], words > 2 ? w[3] : "")
	else if (key == "option" || key == "o") option(w[2], words > 2 ? w[3] : "", 0)
	else if (key == "list" || key == "l") option(w[2], words > 2 ? w[3] : "", 1)
	start()
}

function heading(type, name) {
	leave_section()
	sections++
	section_type = type
	job = name == "" ? "cfg" sections : name
	section_line = first
	if (type != "job") {
		problem(job, first, "a section of the type " shown(type) " means nothing to coracle; jobs begin with: config job 'name'")
		return
	}
	if (name == "") problem(job, first, "the job has no name, and its place in the file is none: config job 'name'")
	if (job in seen)
		problem(job, first, "a second section of this name, after line " seen[job] "; uci makes one job of both")
	seen[job] = first
}

# What a job as a whole lacks.
function leave_section(  name) {
	if (section_type == "job" && !confused) {
		if (value["local"] == "") problem(job, section_line, "local is missing: the directory on this machine")
		if (value["remote"] == "") problem(job, section_line, "remote is missing: the address of the server, ftp://user@host/path")
		if (value["command"] == "sync") {
			unfit("delete", "sync deletes on one side what was deleted on the other, without being told to")
			unfit("delete_unmatched", "sync deletes only what was deleted on the other side")
			unfit("delete_ours", "sync deletes only what was deleted on the other side")
		}
		if (value["command"] == "sync" || value["command"] == "download")
			unfit("no_remote_scan", value["command"] " has to list the server")
		if (value["schedule"] == "" && is_true(value["enabled"]))
			problem(job, section_line, "schedule is missing, and the job is enabled: when, as in '*/30 * * * *'")
	}
	for (name in value) delete value[name]
	for (name in line_of) delete line_of[name]
	section_type = ""
	confused = 0
}

# For a flag that goes with other commands only.
function unfit(name, why) {
	if (is_true(value[name])) problem(job, line_of[name], name " is for " (name == "no_remote_scan" ? "upload" : "upload and download") ": " why)
}

function option(name, text, is_list,  why) {
	if (section_type != "job") return
	if (!(name in kind)) {
		problem(job, first, shown(name) " is not an option of a job")
		return
	}
	if (text ~ /[\001-\010\012-\037]/) {
		# The options that it swallowed are not missing.
		confused = 1
		problem(job, first, name " goes on over the end of its line, or holds a control character; is there a quote missing?")
		return
	}
	if (is_list && kind[name] != "list") {
		problem(job, first, name " takes one value: write option instead of list")
		return
	}
	if (!is_list && name in line_of) {
		problem(job, first, name " was already given in line " line_of[name] ", and uci would forget that one" \
			(kind[name] == "list" ? ": write list instead of option" : ""))
		return
	}
	if (!(name in line_of)) line_of[name] = first
	value[name] = text
	if (text == "") return
	if (kind[name] == "flag" && !is_true(text) && text !~ /^(0|off|false|no|disabled)$/) why = "is neither 0 nor 1"
	else if (name == "command" && text !~ /^(upload|download|sync)$/) why = "is not upload, download or sync"
	else if ((name == "local" || name == "remote") && text !~ /^\// && text !~ /^[a-z]+:\/\//)
		why = "is no absolute path and no address: /mnt/usb/photos, ftp://user@host/path"
	else if ((name == "password_file" || name == "ca_file") && text !~ /^\//) why = "is no absolute path"
	else if (name == "schedule") why = bad_schedule(text)
	if (why != "") problem(job, first, name " " shown(text) " " why)
}

function is_true(text) {
	return text ~ /^(1|on|true|yes|enabled)$/
}

# Why crond would not take the schedule, or would take it for another one; nothing when it is good. As BusyBox's crond reads it.
function bad_schedule(text,  fields, field, i, why) {
	if (text ~ /^@/) return "is not known to every crond; use five fields, as in '*/30 * * * *'"
	if (split(text, fields, " ") != 5) return "has not five fields: minute hour day month weekday, as in '*/30 * * * *'"
	for (i = 1; i <= 5; i++) {
		why = bad_field(fields[i], i)
		if (why != "") return "is refused by crond: " why
	}
	return ""
}

function bad_field(field, which,  name, low, high, parts, count, i, part, step, ends, from, to) {
	split("minute hour day month weekday", name, " ")
	split("0 0 1 1 0", low, " ")
	split("59 23 31 12 6", high, " ")
	if (field ~ /^,/ || field ~ /,$/ || field ~ /,,/) return "the " name[which] " has an empty part"
	count = split(field, parts, ",")
	for (i = 1; i <= count; i++) {
		part = parts[i]
		step = ""
		if (part ~ /\//) {
			step = part
			sub(/^[^\/]*\//, "", step)
			sub(/\/.*/, "", part)
			if (step !~ /^[0-9]+$/ || step + 0 == 0 || step + 0 > high[which])
				return "the " name[which] " has the step " shown(step)
			if (part != "*" && part !~ /-/) return "the " name[which] " has a step without a range: use */" step
		}
		if (part == "*") continue
		if (split(part, ends, "-") > 2 || part ~ /^-/ || part ~ /-$/)
			return "the " name[which] " has the range " shown(part)
		from = number(ends[1], which)
		to = part ~ /-/ ? number(ends[2], which) : from
		if (from == "" || to == "") return "the " name[which] " " shown(part) " is no number" (which > 3 ? " or name of three letters" : "")
		if (from < low[which] + 0 || from > high[which] + 0 || to < low[which] + 0 || to > high[which] + 0)
			return "the " name[which] " " shown(part) " is not from " low[which] " to " high[which] \
				(which == 5 ? " (Sunday is 0)" : "")
	}
	return ""
}

# Of a number or a name; empty when it is neither.
function number(text, which,  names, place) {
	if (text ~ /^[0-9][0-9]?$/) return text + 0
	if (length(text) != 3) return ""
	if (which == 4) names = "janfebmaraprmayjunjulaugsepoctnovdec"
	else if (which == 5) names = "sunmontuewedthufrisat"
	else return ""
	place = index(names, tolower(text))
	if (place == 0 || place % 3 != 1) return ""
	return (place - 1) / 3 + (which == 4)
}

# As the log can show it: short, on one line.
function shown(text) {
	gsub(/[\001-\037\177]/, "?", text)
	return "'" (length(text) > 60 ? substr(text, 1, 57) "..." : text) "'"
}

function problem(whose, line, what) {
	gsub(/[\001-\037]/, "?", whose)
	print whose tab line tab what
}
