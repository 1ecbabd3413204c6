"""One module per file format, and the verification that runs what was exported."""
