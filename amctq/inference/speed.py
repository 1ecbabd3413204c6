"""Images per second of two sessions that take turns."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass

from amctq.inference.session import Session
from amctq.quant.numerics import Float32Array


@dataclass(frozen=True, kw_only=True)
class Speed:
    """Images per second of two sessions that took turns on one batch.

    Attributes:
        float32: median of the float session.
        int8: median of the quantized session.
        batch_size: images per run.
        rounds: runs of each.
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
    """Time two sessions in turns, so that whatever else the machine does meets both alike.

    Args:
        float_session: of the float network.
        int8_session: of the quantized network, in the same engine.
        images: one batch, (N, C, H, W).
        rounds: how often each runs, at most.
        seconds: no further round starts after that long; at least three are run.
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
