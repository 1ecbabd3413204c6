"""How long a run will take: a guess before it starts, corrected by what its first batches take."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from amctq.data.inputs import part, samples_in
from amctq.training.pace import duration

if TYPE_CHECKING:
    from amctq.data.samples import Batches
    from amctq.inference.session import Session
    from amctq.progress import Reporter

_TIMED_IMAGES = 8  # a pass takes as long for each image with more of them
_LEARNED_SECONDS = 0.5  # of work behind the first batch, which also allocates or compiles
_WRONG = 0.25  # a new estimate that differs by more is worth a line,
_WORTH_SECONDS = 3.0  # and at least by so much


@dataclass(frozen=True, kw_only=True)
class Expected:
    """A phase that is to come.

    Attributes:
        phases: its name, or the names of those of which one will run.
        units: how many images or steps.
        seconds: a guess for one of them.
        engine: what computes it; where one phase of an engine is slower than guessed, the others are too.
    """

    phases: tuple[str, ...]
    units: int
    seconds: float
    engine: str = ""


@dataclass(kw_only=True, eq=False)
class _Seen:
    """What is known of one phase: the units that are done, and the seconds of those that were timed."""

    done: int = 0
    timed: int = 0
    seconds: float = 0.0
    ended: bool = False
    _first: tuple[int, float] | None = None
    _latest: tuple[int, float] = (0, 0.0)

    def progress(self, done: int, elapsed: float) -> None:
        if done == 0:  # it begins, or begins again: an epoch after another
            self._first, self._latest, self.ended = None, (0, elapsed), False
            return
        self.done += done - self._latest[0]
        if self._first is not None:
            self.timed += done - self._latest[0]
            self.seconds += elapsed - self._latest[1]
        self._first = self._first or (done, elapsed)
        self._latest = done, elapsed

    @property
    def each(self) -> float | None:
        """Seconds for one unit; None while that is not known."""
        enough = self.seconds >= _LEARNED_SECONDS or (self.ended and self.timed)
        return self.seconds / self.timed if enough and self.timed else None


@dataclass(kw_only=True, eq=False)
class Forecast:
    """Watches the phases of a reporter, and says it where they take another time than was guessed.

    Attributes:
        reporter: shows the phases.
        expected: the phases that take long.
    """

    reporter: Reporter
    expected: tuple[Expected, ...]
    _seen: dict[int, _Seen] = field(default_factory=dict)
    _said: float = 0.0
    _said_at: float = 0.0
    _corrected: set[int] = field(default_factory=set)

    def begin(self, detail: str = "") -> None:
        """Say the guess, and watch from now on; ``detail`` says what there is to do."""
        self._say(self.seconds_left, f": {detail}" if detail else "")
        self.reporter.on_phase = self.update

    @property
    def seconds_left(self) -> float:
        """The seconds that the phases will still take."""
        slower: dict[str, float] = {}
        for index, item in enumerate(self.expected):
            each = self._each(index)
            if each is not None and item.seconds > 0:
                slower.setdefault(item.engine, each / item.seconds)
        left = 0.0
        for index, item in enumerate(self.expected):
            seen = self._seen.get(index, _Seen())
            each = self._each(index)
            guess = item.seconds * slower.get(item.engine, 1.0)
            left += max(item.units - seen.done, 0) * (guess if each is None else each)
        return left

    def update(self, phase: str, done: int, elapsed: float, ended: bool) -> None:
        """A phase has begun, is further, or has ended.

        Args:
            phase: its name.
            done: units that are done since it began.
            elapsed: seconds since it began.
            ended: whether it has ended.
        """
        index = next((at for at, item in enumerate(self.expected) if phase in item.phases), None)
        if index is None:
            return
        seen = self._seen.setdefault(index, _Seen())
        if ended:
            seen.ended = True
            return
        seen.progress(done, elapsed)
        left, before = self.seconds_left, self._said - (time.monotonic() - self._said_at)
        if index in self._corrected or self._each(index) is None:
            return
        self._corrected.add(index)
        apart = abs(left - before)
        if apart > _WORTH_SECONDS and apart > _WRONG * max(left, before):
            self._say(left, f", by the first {seen.done:,} of {phase}")

    def _each(self, index: int) -> float | None:
        return self._seen[index].each if index in self._seen else None

    def _say(self, seconds: float, detail: str) -> None:
        self._said, self._said_at = seconds, time.monotonic()
        self.reporter.info(f"about {duration(max(seconds, 1.0))} to go{detail}")


def seconds_of(expected: Iterable[Expected]) -> float:
    """The guess for all phases together."""
    return max(1.0, sum(item.units * item.seconds for item in expected))


def preparation_seconds(batches: Batches) -> float:
    """The time to read and prepare one sample, from the first few."""
    start = time.perf_counter()
    inputs, _ = next(batches.samples.batches(min(batches.size, _TIMED_IMAGES)))
    return (time.perf_counter() - start) / samples_in(inputs)


def forward_seconds(session: Session, batches: Batches, *, compiles: bool = False) -> float:
    """The time of a network for one image, from the second run of a few: the first allocates.

    Args:
        session: runs the network.
        batches: images for it.
        compiles: it compiles the network for each size of a batch, so that only a whole one is run.
    """
    inputs = part(batches.first(), slice(batches.size if compiles else _TIMED_IMAGES))
    session.run(inputs)
    start = time.perf_counter()
    session.run(inputs)
    return (time.perf_counter() - start) / samples_in(inputs)
