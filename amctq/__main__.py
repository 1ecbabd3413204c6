"""``amctq`` and ``python -m amctq``."""

from __future__ import annotations

from amctq.signals import hold_signals
from amctq.streams import prepare_streams


def main() -> None:
    """Entry point."""
    prepare_streams()
    hold_signals()  # a traceback of a half-done import helps nobody
    from amctq.cli import app

    app.main()


if __name__ == "__main__":
    main()
