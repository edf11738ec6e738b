#compdef fanctl
# Completion of fanctl for zsh.
#
#   . <(fanctl completion zsh)       # behind compinit, or as _fanctl in a folder of $fpath

_fanctl() {
	local line word
	local -a plain told lines
	lines=("${(@f)$(PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin command fanctl complete -- "${(@Q)words[2,CURRENT-1]}" "${(Q)PREFIX}" 2>/dev/null)}")
	for line in $lines; do
		if [[ $line == :path ]]; then
			[[ $PREFIX == -*=* ]] && compset -P '*='
			_files
			return
		fi
		word=${line%%$'\t'*}
		plain+=("$word")
		[[ $line == *$'\t'* ]] && told+=("${word//:/\\:}:${line#*$'\t'}") || told+=("${word//:/\\:}")
	done
	(( $#plain )) && _describe -V fanctl told plain
}

if [[ $funcstack[1] == _fanctl ]]; then
	_fanctl "$@"
else
	compdef _fanctl fanctl
fi
