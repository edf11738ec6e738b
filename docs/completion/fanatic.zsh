#compdef fanatic
# Completion of fanatic for zsh.
#
#   . <(fanatic completion zsh)       # behind compinit, or as _fanatic in a folder of $fpath

_fanatic() {
	local line word
	local -a plain told lines
	lines=("${(@f)$(PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin command fanatic complete -- "${(@Q)words[2,CURRENT-1]}" "${(Q)PREFIX}" 2>/dev/null)}")
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
	(( $#plain )) && _describe -V fanatic told plain
}

if [[ $funcstack[1] == _fanatic ]]; then
	_fanatic "$@"
else
	compdef _fanatic fanatic
fi
