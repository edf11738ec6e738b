# Completion of fanatic for fish.
#
#   fanatic completion fish | source  # or as fanatic.fish in a folder of $fish_complete_path

function __fanatic_complete
    set -l words (commandline -opc)
    set -e words[1]
    set -l word (commandline -ct)
    set -lx PATH $PATH /usr/local/sbin /usr/sbin /sbin
    set -l lines (command fanatic complete -- $words "$word" 2>/dev/null)
    if test "$lines[1]" != :path
        string join \n -- $lines
        return
    end
    set -l option (string match -r -- '^-[^=]*=' $word)
    for path in (__fish_complete_path (string replace -r -- '^-[^=]*=' '' $word))
        echo "$option$path"
    end
end

complete -c fanatic -f -a '(__fanatic_complete)'
