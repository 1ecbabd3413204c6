"""The command line. One thin module for each command."""
