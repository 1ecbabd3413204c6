"""One module for each command: a frozen request in, a frozen result out. No console here."""
