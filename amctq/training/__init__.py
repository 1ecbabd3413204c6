"""Training that can be stopped at any step and gone on with to the same bytes."""
