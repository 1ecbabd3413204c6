"""The log file of a run: every event with its time, kept until the run's files are published."""

from __future__ import annotations

import time

from amctq.json_value import unicode_text
from amctq.progress import Event, Notice, OnEvent, Progress


class RunLog:
    """Receives events and passes them on; keeps one line for each notice and each start of a phase."""

    def __init__(self, on_event: OnEvent) -> None:
        self._on_event = on_event
        self._lines: list[str] = []
        self._phase = ""

    def __call__(self, event: Event) -> None:
        """Receive one event."""
        if isinstance(event, Notice):
            self._line(event.level, event.text)
        elif isinstance(event, Progress) and event.phase != self._phase:
            self._phase = event.phase
            self._line("phase", event.phase)
        self._on_event(event)

    def content(self) -> bytes:
        """The whole log, UTF-8."""
        return unicode_text("".join(self._lines)).encode()

    def _line(self, level: str, text: str) -> None:
        self._lines.append(f"{time.strftime('%Y-%m-%dT%H:%M:%S%z')} {level:<7} {text}\n")
