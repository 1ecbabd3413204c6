
#compdef amctq

_amctq_completion() {
  eval $(env _TYPER_COMPLETE_ARGS="${words[1,$CURRENT]}" _AMCTQ_COMPLETE=complete_zsh amctq)
}

compdef _amctq_completion amctq

