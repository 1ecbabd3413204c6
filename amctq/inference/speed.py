"""Measuring the speed of two sessions in turns."""

from __future__ import annotations

import itertools
import statistics
import time
from dataclasses import dataclass

from amctq.data.inputs import Inputs, samples_in
from amctq.inference.session import Session

Range = tuple[float, float]
# The fastest of some runs against the slowest. On an idle machine they differ by less than a tenth.
_QUIET = 1.25


@dataclass(frozen=True, kw_only=True)
class Speed:
    """Samples per second of two sessions, measured in turns on one batch.

    Attributes:
        float32: of the float session, by its median time.
        int8: of the quantized session, by its median time.
        float32_range: by the slowest and by the fastest run.
        int8_range: the same of the quantized session.
        batch_size: samples in a run.
        rounds: runs of each session.
    """

    float32: float
    int8: float
    float32_range: Range
    int8_range: Range
    batch_size: int
    rounds: int

    @property
    def ratio(self) -> float:
        """How many times faster the quantized session is."""
        return self.int8 / self.float32

    @property
    def busy(self) -> bool:
        """Whether the runs of a session differ so much that something else must have used the machine."""
        return is_busy(self.float32_range) or is_busy(self.int8_range)


def is_busy(speeds: Range) -> bool:
    """Whether the slowest and the fastest of equal runs lie too far apart for a machine that does nothing else."""
    return speeds[1] > _QUIET * speeds[0]


def compare_speed(
    float_session: Session,
    int8_session: Session,
    inputs: Inputs,
    *,
    rounds: int = 9,
    seconds: float = 3,
) -> Speed:
    """Time two sessions in turns, so that other load on the machine affects both equally.

    Args:
        float_session: runs the float network.
        int8_session: runs the quantized network, in the same engine.
        inputs: one batch.
        rounds: runs of each session, at most.
        seconds: after this time no new round starts; at least three are run.
    """
    sessions = (float_session, int8_session)
    for session in sessions:
        session.run(inputs)  # the first run allocates
    times: tuple[list[float], list[float]] = ([], [])
    begin = time.perf_counter()
    while len(times[0]) < rounds and (len(times[0]) < 3 or time.perf_counter() - begin < seconds):
        for session, own in zip(sessions, times, strict=True):
            start = time.perf_counter()
            session.run(inputs)
            own.append(time.perf_counter() - start)
    samples = samples_in(inputs)
    per_second = [samples / statistics.median(own) for own in times]
    ranges = [(samples / max(own), samples / min(own)) for own in times]
    return Speed(
        float32=per_second[0],
        int8=per_second[1],
        float32_range=ranges[0],
        int8_range=ranges[1],
        batch_size=samples,
        rounds=len(times[0]),
    )


def speed_range(ends: list[tuple[int, float]], size: int, mean: float) -> tuple[float, float]:
    """Images per second of a slow and of a fast batch: whole ones without the first, and without a tenth at each end.

    Args:
        ends: after each batch, the images that are done and the time, from the start on.
        size: images in a batch.
        mean: of all batches, for a run with fewer of them.
    """
    pairs = itertools.pairwise(ends[1:])
    speeds = sorted(size / (later - before) for (done, before), (after, later) in pairs if after - done == size)
    kept = speeds[len(speeds) // 10 : len(speeds) - len(speeds) // 10]
    return (kept[0], kept[-1]) if kept else (mean, mean)
