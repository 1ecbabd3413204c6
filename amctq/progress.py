"""How a service tells what it is doing, without knowing a console."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeAlias


@dataclass(frozen=True, kw_only=True)
class Progress:
    """``done`` of ``total`` ``unit`` of ``phase`` are finished; ``total`` is None while it is not known.

    ``note`` says what else is known at this moment, such as the loss, and ``figures`` the same by name.
    ``lane`` tells apart what goes on at the same time: ``rank 1``.
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
    """One line for the user. A warning stands in the report as well."""

    level: Literal["debug", "info", "warning"]
    text: str


Event: TypeAlias = Progress | Notice
OnEvent: TypeAlias = Callable[[Event], None]


class Advance(Protocol):
    """Is told how many units of a phase are done by now, and what else is known at this moment."""

    def __call__(self, now: int, note: str = "", figures: Mapping[str, float] | None = None) -> None:
        """``now`` units are done."""


def silent(event: Event) -> None:
    """Take no notice: what a service reports to when nobody listens."""
    del event


@dataclass
class Reporter:
    """Sends events to ``on_event`` and keeps what a report needs: seconds of phases and of parts, and warnings."""

    on_event: OnEvent = silent
    seconds: dict[str, float] = field(default_factory=dict)
    parts: dict[str, float] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    def debug(self, text: str) -> None:
        """Say ``text`` to whoever wants every detail."""
        self.on_event(Notice(level="debug", text=text))

    def info(self, text: str) -> None:
        """Say ``text``."""
        self.on_event(Notice(level="info", text=text))

    def warn(self, text: str) -> None:
        """Say ``text`` and remember it for the report."""
        self.warnings.append(text)
        self.on_event(Notice(level="warning", text=text))

    def add_part(self, name: str, seconds: float) -> None:
        """Count ``seconds`` of a phase towards a part of it that is told apart."""
        self.parts[name] = self.parts.get(name, 0.0) + seconds

    @contextlib.contextmanager
    def phase(self, name: str, total: int | None = None, unit: str = "images", done: int = 0) -> Iterator[Advance]:
        """Time a phase; the value given is called with how many units are done by now, ``done`` at first."""

        def advance(now: int, note: str = "", figures: Mapping[str, float] | None = None) -> None:
            self.on_event(Progress(phase=name, done=now, total=total, unit=unit, note=note, figures=figures or {}))

        start = time.perf_counter()
        advance(done)
        yield advance
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start
