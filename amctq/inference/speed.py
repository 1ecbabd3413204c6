"""Measuring the speed of two sessions in turns."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass

from amctq.inference.session import Session
from amctq.quant.numerics import Float32Array


@dataclass(frozen=True, kw_only=True)
class Speed:
    """Images per second of two sessions, measured in turns on one batch.

    Attributes:
        float32: of the float session, by its median time.
        int8: of the quantized session, by its median time.
        batch_size: images in a run.
        rounds: runs of each session.
    """

    float32: float
    int8: float
    batch_size: int
    rounds: int

    @property
    def ratio(self) -> float:
        """How many times faster INT8 is."""
        return self.int8 / self.float32


def compare_speed(
    float_session: Session,
    int8_session: Session,
    images: Float32Array,
    *,
    rounds: int = 9,
    seconds: float = 3,
) -> Speed:
    """Time two sessions in turns, so that other load on the machine affects both equally.

    Args:
        float_session: runs the float network.
        int8_session: runs the quantized network, in the same engine.
        images: one batch, (N, C, H, W).
        rounds: runs of each session, at most.
        seconds: after this time no new round starts; at least three are run.
    """
    sessions = (float_session, int8_session)
    for session in sessions:
        session.logits(images)  # the first run allocates
    times: tuple[list[float], list[float]] = ([], [])
    begin = time.perf_counter()
    while len(times[0]) < rounds and (len(times[0]) < 3 or time.perf_counter() - begin < seconds):
        for session, own in zip(sessions, times, strict=True):
            start = time.perf_counter()
            session.logits(images)
            own.append(time.perf_counter() - start)
    per_second = [len(images) / statistics.median(own) for own in times]
    return Speed(float32=per_second[0], int8=per_second[1], batch_size=len(images), rounds=len(times[0]))
