"""``amctq`` and ``python -m amctq``."""

from __future__ import annotations

import signal


def main() -> None:
    """Entry point."""
    # Until a command listens, Ctrl-C just ends the process: the traceback of a half-done import helps nobody.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from amctq.cli import app

    app.main()


if __name__ == "__main__":
    main()
