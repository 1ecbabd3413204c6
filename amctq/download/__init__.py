"""Downloads one file: resumed, verified, from several addresses. No console, no framework."""
