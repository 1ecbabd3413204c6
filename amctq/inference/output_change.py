"""How a variant of a network differs from the network in float, at the outputs and on the same samples."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from amctq.data.samples import Targets
from amctq.errors import InputError
from amctq.inference.classes import gives_classes, predicted_classes
from amctq.inference.metrics.score import Metric, Score
from amctq.inference.session import Outputs


@dataclass(frozen=True, kw_only=True, eq=False)
class OutputChange:
    """The outputs of a variant against those in float.

    Attributes:
        sqnr_db: of all outputs: the mean of their noise-to-signal ratios, in dB; infinite where nothing differs.
        kl: mean Kullback-Leibler divergence of the classes' probabilities, in nats; None where there are no classes.
        class_changes: share of the samples whose class differs; None where there are no classes.
        score: of the variant; None without a metric.
    """

    sqnr_db: float
    kl: float | None
    class_changes: float | None
    score: Score | None

    @property
    def cost(self) -> float:
        """How far the outputs have moved: the divergence of the classes, else noise to signal."""
        return 10 ** (-self.sqnr_db / 10) if self.kl is None else self.kl


def output_change(
    before: Sequence[Outputs],
    after: Iterable[Outputs],
    targets: Sequence[Targets],
    metric: Metric | None,
    *,
    classes: bool = True,
) -> OutputChange:
    """Compare a variant's outputs with those in float.

    Args:
        before: in float, batch by batch.
        after: of the variant.
        targets: of the samples.
        metric: measures the variant; None for no measurement.
        classes: outputs of the shape of scores are scores of classes.

    Raises:
        InputError: an output has another shape than in float, or outputs and targets are not what the metric reads.
    """
    scoring = None if metric is None else metric.start()
    signal = np.zeros(len(before[0]))
    noise = np.zeros(len(before[0]))
    divergence, changes, samples = 0.0, 0, 0
    for one, other, wanted in zip(before, after, targets, strict=True):
        for index, (first, second) in enumerate(zip(one, other, strict=True)):
            if first.shape != second.shape:
                message = f"an output has the shape {first.shape} in float and {second.shape} quantized"
                raise InputError(message, hint="give amctq the network without what chooses its results")
            values, error = first.astype(np.float64), first.astype(np.float64) - second.astype(np.float64)
            signal[index] += np.vdot(values, values)
            noise[index] += np.vdot(error, error)
        if classes and gives_classes(one):
            divergence += float(_divergence(one[0], other[0]).sum())
            changes += int(np.count_nonzero(predicted_classes(one) != predicted_classes(other)))
            samples += len(one[0])
        if scoring is not None:
            scoring.add(other, wanted)
    ratio = float(np.mean(noise / np.maximum(signal, 1e-300)))
    return OutputChange(
        sqnr_db=-10 * math.log10(ratio) if ratio > 0 else math.inf,
        kl=divergence / samples if samples else None,
        class_changes=changes / samples if samples else None,
        score=None if scoring is None else scoring.finish(),
    )


def _divergence(before: NDArray[np.generic], after: NDArray[np.generic]) -> NDArray[np.float64]:
    """KL(before ‖ after) of each row of scores."""
    one, other = _log_probabilities(before), _log_probabilities(after)
    found: NDArray[np.float64] = np.maximum((np.exp(one) * (one - other)).sum(axis=1), 0.0)
    return found


def _log_probabilities(scores: NDArray[np.generic]) -> NDArray[np.float64]:
    """The logarithms of the classes' probabilities, whether a network ends with a softmax or not."""
    values = scores.astype(np.float64)
    if values.min() >= 0 and np.allclose(values.sum(axis=1), 1.0, atol=1e-3):
        logarithms: NDArray[np.float64] = np.log(np.maximum(values, 1e-12))
        return logarithms
    values = values - values.max(axis=1, keepdims=True)
    found: NDArray[np.float64] = values - np.log(np.exp(values).sum(axis=1, keepdims=True))
    return found
