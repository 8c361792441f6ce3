/** Shells that a completion script can be made for. */
export const shells = ['bash', 'zsh', 'fish'] as const;
export type Shell = (typeof shells)[number];

/** What a script knows without asking: commands, and the kinds that follow those that take one. */
export interface CompletionWords {
  readonly commands: readonly string[];
  readonly kindCommands: readonly string[];
  readonly nouns: readonly string[];
}

/** A script for the shell to source. Commands and kinds are written into it; everything else is asked by `virt8ra __complete`. */
export function completionScript(shell: Shell, words: CompletionWords): string {
  const commands = words.commands.join(' ');
  const nouns = words.nouns.join(' ');
  switch (shell) {
    case 'bash':
      return `# virt8ra completion for bash: source <(virt8ra completion bash)
_virt8ra() {
  local current=\${COMP_WORDS[COMP_CWORD]} words
  if [[ $COMP_CWORD -eq 1 && $current != -* ]]; then
    words="${commands}"
  elif [[ $COMP_CWORD -eq 2 && $current != -* && $current != */* && " ${words.kindCommands.join(' ')} " == *" \${COMP_WORDS[1]} "* ]]; then
    words="${nouns}"
  else
    words=$(virt8ra __complete "\${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
  fi
  local IFS=$' \\n'
  COMPREPLY=($(compgen -W "$words" -- "$current"))
}
complete -o default -F _virt8ra virt8ra
`;
    case 'zsh':
      return `#compdef virt8ra
# virt8ra completion for zsh: source <(virt8ra completion zsh)
_virt8ra() {
  local -a candidates
  if (( CURRENT == 2 )) && [[ $words[CURRENT] != -* ]]; then
    candidates=(${commands})
  elif (( CURRENT == 3 )) && [[ $words[CURRENT] != -* && $words[CURRENT] != */* && " ${words.kindCommands.join(' ')} " == *" $words[2] "* ]]; then
    candidates=(${nouns})
  else
    candidates=(\${(f)"$(virt8ra __complete "\${(@)words[2,CURRENT]}" 2>/dev/null)"})
  fi
  if (( $#candidates )); then compadd -Q -a candidates; else _files; fi
}
compdef _virt8ra virt8ra
`;
    case 'fish':
      return `# virt8ra completion for fish: virt8ra completion fish | source
complete -c virt8ra -n __fish_use_subcommand -f -a "${commands}"
complete -c virt8ra -n "__fish_seen_subcommand_from ${words.kindCommands.join(' ')}; and test (count (commandline -opc)) -eq 2" -f -a "${nouns}"
complete -c virt8ra -n "not __fish_use_subcommand" -a "(virt8ra __complete (commandline -opc)[2..-1] (commandline -ct) 2>/dev/null)"
`;
  }
}
