# Completion of weir in fish. To have it in every shell: weir completion fish >~/.config/fish/completions/weir.fish
function __weir_complete
    set -l given (commandline -opc)
    set -l program $given[1]
    set -e given[1]
    set -l lines (command $program complete -- $given (commandline -ct) 2>/dev/null)
    if test "$lines" = \tfiles
        __fish_complete_path (commandline -ct)
    else
        printf '%s\n' $lines
    end
end
complete -c weir -f -a '(__weir_complete)'
