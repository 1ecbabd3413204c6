"""The agreement of two ways to compute the same network.

Two ways that add the same numbers in another order differ a little in every value. Of a classifier, if the two best
classes of an image are nearer to each other than that, which one wins is chance, and not a difference. Such an image is
a *tie*: its class differs, and the gap between the two classes concerned, in the logits of the reference, is at most
the mean absolute difference of the logits over all compared images. If that is more than SAME of the largest logit, the
two ways do not compute the same, and no image is a tie.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from amctq.data.inputs import Array, samples_in
from amctq.data.samples import Batches
from amctq.inference.classes import gives_classes, predicted_classes
from amctq.inference.metrics.score import Scoring
from amctq.inference.session import Outputs, Session

# Mean difference of a value, divided by the largest value. Measured: 6e-4 on ResNet-20, 2e-4 on ResNet-50.
SAME = 0.01


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """The agreement of two ways to compute the same network.

    Attributes:
        images: number of compared samples.
        argmax_differences: number of samples whose class differs, without ties; 0 where the network gives no classes.
        ties: number of ties.
        max_difference: largest difference of a value, divided by the largest value of its output. Each way has its own
            largest value, and the smaller one counts: values that are wrong and far too large do not hide themselves.
        mean_difference: mean difference of a value, divided in the same way: of the output where it is largest.
        top1: top-1 of the first way on these samples, percent; None where they have no labels.
        classes: the network gives classes.
    """

    images: int
    argmax_differences: int
    ties: int
    max_difference: float
    mean_difference: float
    top1: float | None
    classes: bool = True

    @property
    def percent(self) -> float:
        """Percentage of samples whose predicted class is the same, or a tie."""
        return 100.0 * (1.0 - self.argmax_differences / self.images)


@dataclass(kw_only=True)
class _OutputDifferences:
    """Collects the differences of one output, batch by batch."""

    largest: float = 0.0
    _largest_values: tuple[float, float] = (1e-12, 1e-12)
    _sum: float = 0.0
    _values: int = 0

    def add(self, one: Array, reference: Array) -> None:
        apart = np.abs(one.astype(np.float64) - reference)
        self.largest = max(self.largest, float(apart.max(initial=0.0)))
        first, second = self._largest_values
        self._largest_values = max(first, _end(one)), max(second, _end(reference))
        self._sum, self._values = self._sum + float(apart.sum()), self._values + apart.size

    @property
    def largest_value(self) -> float:
        """The largest absolute value of the way whose values are smaller."""
        return min(self._largest_values)

    @property
    def mean(self) -> float:
        """The mean absolute difference."""
        return self._sum / max(self._values, 1)


def _end(array: Array) -> float:
    return float(np.abs(array).max(initial=0.0))


@dataclass(kw_only=True)
class Differences:
    """Collects the differences of two ways to compute the same samples, batch by batch."""

    _outputs: list[_OutputDifferences] = field(default_factory=list)
    _gaps: list[NDArray[np.floating[Any]]] = field(default_factory=list)

    def add(self, one: Outputs, reference: Outputs) -> None:
        """Add a batch."""
        self._outputs = self._outputs or [_OutputDifferences() for _ in one]
        for found, *pair in zip(self._outputs, one, reference, strict=True):
            found.add(*pair)
        if gives_classes(reference):
            own, best, logits = predicted_classes(one), predicted_classes(reference), reference[0]
            rows = np.flatnonzero(own != best)
            self._gaps.append(logits[rows, best[rows]] - logits[rows, own[rows]])

    @property
    def max_difference(self) -> float:
        """See ``Agreement``."""
        return max(found.largest / found.largest_value for found in self._outputs)

    @property
    def mean_difference(self) -> float:
        """See ``Agreement``."""
        return max(found.mean / found.largest_value for found in self._outputs)

    @property
    def classes(self) -> bool:
        """Whether the network gives classes."""
        return bool(self._gaps)

    @property
    def ties(self) -> int:
        """Number of samples whose class differs, but whose gap is at most the mean difference."""
        if not self._gaps or not self.mean_difference <= SAME:
            return 0
        return int((np.concatenate(self._gaps) <= self._outputs[0].mean).sum())

    @property
    def argmax_differences(self) -> int:
        """Number of samples whose class differs, without ties."""
        return sum(map(len, self._gaps)) - self.ties


def compare_forward(
    one: Session, other: Session, batches: Batches, advance: Callable[[int], None], scoring: Scoring | None = None
) -> Agreement:
    """Run every sample of ``batches`` through two sessions, and compare all outputs.

    Args:
        one: a quantized network.
        other: another way to compute the same network, the reference for ties.
        batches: the samples.
        advance: called with the number of samples done.
        scoring: sees what the first way computes.
    """
    samples = hits = 0
    differences, classified = Differences(), batches.samples.classified
    for inputs, targets in batches:
        own = one.run(inputs)
        differences.add(own, other.run(inputs))
        if scoring is not None:
            scoring.add(own, targets)
        samples += samples_in(inputs)
        classified = classified and gives_classes(own)
        hits += int((predicted_classes(own) == targets).sum()) if classified else 0
        advance(samples)
    return Agreement(
        images=samples,
        argmax_differences=differences.argmax_differences,
        ties=differences.ties,
        max_difference=differences.max_difference,
        mean_difference=differences.mean_difference,
        top1=100.0 * hits / samples if classified else None,
        classes=differences.classes,
    )
