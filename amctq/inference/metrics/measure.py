"""Running a network over all samples, and measuring it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from amctq.data.inputs import samples_in
from amctq.data.samples import Batches, check_finite
from amctq.errors import InputError
from amctq.inference.classes import gives_classes, predicted_classes
from amctq.inference.metrics.score import Metric, Score
from amctq.inference.session import Outputs, Session


@dataclass(frozen=True, kw_only=True, eq=False)
class Outcome:
    """The result of a network for every sample.

    Attributes:
        score: the value of the metric.
        predicted: the class that scored highest, int64 (N,); None where the network gives no classes.
    """

    score: Score
    predicted: NDArray[np.int64] | None

    def disagreeing(self, other: Outcome) -> NDArray[np.int64] | None:
        """Positions of the samples for which another network predicts another class; None without classes."""
        if self.predicted is None or other.predicted is None:
            return None
        return np.flatnonzero(self.predicted != other.predicted)


def measure(session: Session, batches: Batches, metric: Metric, advance: Callable[[int], None]) -> Outcome:
    """Run every sample of ``batches`` through a session.

    Args:
        session: runs the network.
        batches: the samples.
        metric: how good the network is.
        advance: called with the number of samples done.

    Raises:
        InputError: the outputs or targets are not what the metric reads, a sample holds NaN or infinity, or the network
            gives NaN or infinity: that is no bad result, but none.
    """
    scoring = metric.start()
    predicted: list[NDArray[np.int64]] = []
    done = 0
    for inputs, targets in batches:
        check_finite(inputs, done, "--dataset")
        outputs = session.run(inputs)
        samples = samples_in(inputs)
        if wrong := samples_with_nan(outputs, samples):
            message = f"the network gives NaN for {wrong} of the images {done:,} to {done + samples - 1:,}"
            raise InputError(message, hint="its parameters, or how the images are prepared, do not fit")
        if wrong := _samples_without_value(outputs, samples):
            message = f"the network gives infinity for {wrong} of the images {done:,} to {done + samples - 1:,}"
            raise InputError(message, hint="its parameters, or how the images are prepared, do not fit")
        scoring.add(outputs, targets)
        if gives_classes(outputs):
            predicted.append(predicted_classes(outputs))
        done += samples
        advance(done)
    return Outcome(score=scoring.finish(), predicted=np.concatenate(predicted) if predicted else None)


def _samples_without_value(outputs: Outputs, samples: int) -> int:
    """For how many samples an output is infinite, and says nothing.

    Of classes, -inf is the logarithm of a probability that is 0, which has its rank, unless all are.
    """
    if gives_classes(outputs):
        (scores,) = outputs
        return int((np.isposinf(scores).any(axis=1) | np.isneginf(scores).all(axis=1)).sum())
    return _samples_where(np.isinf, outputs, samples)


def samples_with_nan(outputs: Outputs, samples: int) -> int:
    """For how many samples an output is NaN."""
    return _samples_where(np.isnan, outputs, samples)


def _samples_where(holds: Callable[[NDArray[Any]], NDArray[np.bool_]], outputs: Outputs, samples: int) -> int:
    wrong = np.zeros(samples, bool)
    for array in outputs:
        if array.dtype.kind == "f" and holds(array).any():
            by_sample = array.shape[:1] == (samples,)
            wrong |= holds(array.reshape(samples, -1)).any(axis=1) if by_sample else True
    return int(wrong.sum())
