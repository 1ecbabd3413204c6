"""Training that can be stopped at any step and resumed, with the same bytes at the end."""
