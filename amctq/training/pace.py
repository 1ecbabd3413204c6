"""How fast a run is, and when it prints the next line."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field

_TIMED = 20  # the rate is that of the last so many steps
_LINE_SECONDS = 60.0  # between two lines; a terminal also shows a bar


@dataclass(kw_only=True, eq=False)
class Pace:
    """Times the steps of a run, without what is done between them.

    Attributes:
        images: in one step.
    """

    images: int
    _seconds: deque[float] = field(default_factory=lambda: deque(maxlen=_TIMED))
    _last: float | None = None
    _last_line: float = field(default_factory=time.monotonic)

    def step_done(self) -> None:
        """A step has ended. It is not timed if it is the first one, or the first one after ``restart``."""
        now = time.monotonic()
        if self._last is not None:
            self._seconds.append(now - self._last)
        self._last = now

    def restart(self) -> None:
        """Do not time the next step: an evaluation or a compilation comes between it and the last one."""
        self._last = None

    @property
    def images_per_second(self) -> float | None:
        """The rate of the last steps; None while it is not known."""
        return self.images * len(self._seconds) / sum(self._seconds) if self._seconds else None

    def format_rate(self, steps: int) -> str:
        """The rate, and how long ``steps`` more steps will take; an empty text while it is not known."""
        if not self._seconds:
            return ""
        each = sum(self._seconds) / len(self._seconds)
        return f", {self.images / each:,.0f} images/s, {duration(each * steps)} left"

    def is_line_due(self) -> bool:
        """Whether a minute has passed since the last line; if so, the next minute begins."""
        now = time.monotonic()
        if now - self._last_line < _LINE_SECONDS:
            return False
        self._last_line = now
        return True


def duration(seconds: float) -> str:
    """Seconds as a short text: "40 s", "12 min", "3 h 20 min"."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
