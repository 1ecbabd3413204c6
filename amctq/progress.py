"""How a service reports its progress, without a console."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeAlias


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Progress of one phase.

    Attributes:
        phase: name of the phase.
        done: number of units that are finished.
        total: number of all units; None if it is not known.
        unit: what is counted, such as ``images``.
        note: current figures as text, such as the loss.
        figures: the same figures by name.
        lane: which of several parallel processes reports, such as ``rank 1``.
    """

    phase: str
    done: int
    total: int | None
    unit: str
    note: str = ""
    figures: Mapping[str, float] = field(default_factory=dict)
    lane: str = ""


@dataclass(frozen=True, kw_only=True)
class Notice:
    """One line for the user. The report contains the warnings too."""

    level: Literal["debug", "info", "warning"]
    text: str


@dataclass(frozen=True, kw_only=True)
class Ended:
    """A phase that has ended without an error.

    Attributes:
        phase: its name.
        seconds: wall time.
    """

    phase: str
    seconds: float


Event: TypeAlias = Progress | Notice | Ended
OnEvent: TypeAlias = Callable[[Event], None]


class Advance(Protocol):
    """A function that reports the progress of a phase."""

    def __call__(self, now: int, note: str = "", figures: Mapping[str, float] | None = None) -> None:
        """Report that ``now`` units are done, with current figures."""


def silent(event: Event) -> None:
    """Ignore the event."""
    del event


class OnPhase(Protocol):
    """A function that follows the phases."""

    def __call__(self, phase: str, done: int, elapsed: float, ended: bool) -> None:
        """A phase has ``done`` so many units and taken ``elapsed`` seconds since it began, or has ended."""


@dataclass
class Reporter:
    """Sends events to ``on_event``, and keeps warnings and the seconds of phases and their parts for the report.

    ``on_phase``, where there is one, gets the times of each phase while it runs.
    """

    on_event: OnEvent = silent
    seconds: dict[str, float] = field(default_factory=dict)
    parts: dict[str, float] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    on_phase: OnPhase | None = None

    def debug(self, text: str) -> None:
        """Send ``text`` as a detail, for ``--verbose``."""
        self.on_event(Notice(level="debug", text=text))

    def info(self, text: str) -> None:
        """Send ``text``."""
        self.on_event(Notice(level="info", text=text))

    def warn(self, text: str) -> None:
        """Send ``text`` as a warning, and keep it for the report."""
        self.warnings.append(text)
        self.on_event(Notice(level="warning", text=text))

    def add_part(self, name: str, seconds: float) -> None:
        """Add ``seconds`` to a part of a phase that the report lists separately."""
        self.parts[name] = self.parts.get(name, 0.0) + seconds

    @contextlib.contextmanager
    def phase(self, name: str, total: int | None = None, unit: str = "images", done: int = 0) -> Iterator[Advance]:
        """Measure the time of a phase. The block gets a function that reports its progress; ``done`` is the start."""

        def advance(now: int, note: str = "", figures: Mapping[str, float] | None = None) -> None:
            self.on_event(Progress(phase=name, done=now, total=total, unit=unit, note=note, figures=figures or {}))
            if self.on_phase is not None:
                self.on_phase(name, now - done, time.perf_counter() - start, ended=False)

        start = time.perf_counter()
        advance(done)
        yield advance
        seconds = time.perf_counter() - start
        self.seconds[name] = self.seconds.get(name, 0.0) + seconds
        if self.on_phase is not None:
            self.on_phase(name, 0, seconds, ended=True)
        self.on_event(Ended(phase=name, seconds=seconds))
