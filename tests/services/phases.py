"""What a service has begun, seen from outside."""

from __future__ import annotations

from amctq.progress import Event, Progress


class Phases:
    """The phases of a run, in the order in which they began."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def __call__(self, event: Event) -> None:
        if isinstance(event, Progress) and event.phase not in self.names:
            self.names.append(event.phase)
