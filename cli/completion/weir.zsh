#compdef weir
# Completion of weir in zsh. To have it in every shell, below compinit: echo 'eval "$(weir completion zsh)"' >>~/.zshrc
_weir() {
  local -a lines choices
  local line word
  lines=("${(@f)$(${~words[1]} complete -- "${(@Q)words[2,CURRENT-1]}" "${(Q)PREFIX}" 2>/dev/null)}")
  if [[ $lines[1] == $'\t'files ]]; then
    _files
    return
  fi
  for line in $lines; do
    word=${${line%%$'\t'*}//\\/\\\\}
    choices+=("${word//:/\\:}:${line#*$'\t'}")
  done
  _describe weir choices
}
if [[ $funcstack[1] == _weir ]]; then
  _weir "$@" # it is a file of fpath
else
  compdef _weir weir
fi
