"""Getting one file whole and right: resumed, verified, tried at several addresses. No console, no framework."""
