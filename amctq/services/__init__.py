"""The services, one for each command: a frozen request in, a frozen result out. Nothing here prints."""
