# Completion of fanatic for bash. It needs nothing but bash 4.4.
#
#   . <(fanatic completion bash)      # or as /usr/share/bash-completion/completions/fanatic

_fanatic() {
	local words=() word attached i
	# bash takes an option and its value apart at "=": put them together again.
	for ((i = 1; i <= COMP_CWORD; i++)); do
		word=${COMP_WORDS[i]}
		((i < COMP_CWORD)) || [[ $word == = ]] || word=$2 # up to the cursor only
		if [[ $attached || $word == = && ${#words[@]} -gt 0 && ${words[-1]} == -* ]]; then
			words[-1]+=$word
			[[ $word == = ]] && attached=1 || attached=
		else
			words+=("$word")
		fi
	done
	[[ ${COMP_WORDS[COMP_CWORD]} == = ]] && word=
	COMPREPLY=()
	local cut= line
	[[ $COMP_WORDBREAKS == *=* && ${words[-1]} == -*=* ]] && cut=${words[-1]%%=*}=
	while IFS= read -r line; do
		if [[ $line == :path ]]; then
			compopt -o filenames 2>/dev/null
			mapfile -t COMPREPLY < <(compgen -f -- "$word")
			return
		fi
		printf -v line %q "${line%%$'\t'*}"
		COMPREPLY+=("${line#"$cut"}")
	done < <(PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin command fanatic complete -- "${words[@]}" 2>/dev/null)
}
complete -F _fanatic fanatic
