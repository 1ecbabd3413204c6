"""One module a file format, and what each runtime wants."""
