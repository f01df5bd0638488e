# Completion of weir in bash. To have it in every shell: echo 'eval "$(weir completion bash)"' >>~/.bashrc
_weir() {
  local rest=${COMP_LINE:0:COMP_POINT} breaks='' cut=0 last=-1 i word lines
  local -a words
  COMPREPLY=()
  # Bash splits words at : and = too. Here they are whole, up to the cursor.
  for ((i = 0; i <= COMP_CWORD; i++)); do
    if ((i == 0)) || [[ $rest = [[:space:]]* ]]; then words[++last]=''; fi
    rest=${rest#"${rest%%[![:space:]]*}"}
    word=${COMP_WORDS[i]}
    ((i < COMP_CWORD)) || word=$rest
    words[last]+=$word
    rest=${rest#"$word"}
  done
  words[last]=${words[last]//\\/}
  words[last]=${words[last]#[\"\']}
  lines=$("${words[0]/#\~\//$HOME/}" complete -- "${words[@]:1}" 2>/dev/null) || return
  if [[ $lines = $'\t'files ]]; then
    compopt -o default 2>/dev/null
    return
  fi
  # Bash replaces only what follows the last : or = of the word.
  [[ $COMP_WORDBREAKS != *:* ]] || breaks+=:
  [[ $COMP_WORDBREAKS != *=* ]] || breaks+==
  if [[ $breaks ]]; then
    word=${words[last]##*[$breaks]}
    cut=$((${#words[last]} - ${#word}))
  fi
  while IFS=$'\t' read -r word _; do
    [[ $word ]] || continue
    printf -v word %q "${word:cut}"
    COMPREPLY+=("$word")
  done <<<"$lines"
}
complete -F _weir weir
