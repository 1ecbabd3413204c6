"""How fast a run goes, and when it is worth a line."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field

_TIMED = 20  # the rate is that of the last so many steps
_TALK = 60.0  # seconds between two lines; where there is a terminal, a bar says more


@dataclass(kw_only=True, eq=False)
class Pace:
    """Times the steps of a run; what is done between them does not count.

    Attributes:
        images: of one step.
    """

    images: int
    _seconds: deque[float] = field(default_factory=lambda: deque(maxlen=_TIMED))
    _last: float | None = None
    _talked: float = field(default_factory=time.monotonic)

    def step_done(self) -> None:
        """A step has come to its end. The first of all, and the first after something else, is not timed."""
        now = time.monotonic()
        if self._last is not None:
            self._seconds.append(now - self._last)
        self._last = now

    def restart(self) -> None:
        """Something else than steps has been done, or will be: an evaluation, a compilation."""
        self._last = None

    @property
    def images_per_second(self) -> float | None:
        """The rate of the last steps; None while it is not known."""
        return self.images * len(self._seconds) / sum(self._seconds) if self._seconds else None

    def told(self, steps: int) -> str:
        """The rate, and how long ``steps`` more will take; nothing while it is not known."""
        if not self._seconds:
            return ""
        each = sum(self._seconds) / len(self._seconds)
        return f", {self.images / each:,.0f} images/s, {duration(each * steps)} left"

    def is_time_to_talk(self) -> bool:
        """Whether the last line is long ago."""
        now = time.monotonic()
        if now - self._talked < _TALK:
            return False
        self._talked = now
        return True


def duration(seconds: float) -> str:
    """Seconds for people: "40 s", "12 min", "3 h 20 min"."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
