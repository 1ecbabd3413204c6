"""The agreement of two ways to compute the same network.

Two ways that add the same numbers in another order differ a little in every logit. If the two best classes of an image
are nearer to each other than that, which one wins is chance, and not a difference. Such an image is a *tie*: its class
differs, and the gap between the two classes concerned, in the logits of the reference, is at most the mean absolute
difference of the logits over all compared images. If that is more than SAME of the largest logit, the two ways do not
compute the same, and no image is a tie.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from amctq.data.samples import Batches
from amctq.inference.session import Session
from amctq.quant.numerics import Float32Array

# Mean difference of a logit, divided by the largest logit. Measured: 6e-4 on ResNet-20, 2e-4 on ResNet-50.
SAME = 0.01


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """The agreement of two ways to compute the same network.

    Attributes:
        images: number of compared images.
        argmax_differences: number of images whose class differs, without ties.
        ties: number of ties.
        max_difference: largest difference of a logit, divided by the largest logit.
        mean_difference: mean difference of a logit, divided by the largest logit.
        top1: top-1 of the first way on these images, percent.
    """

    images: int
    argmax_differences: int
    ties: int
    max_difference: float
    mean_difference: float
    top1: float


@dataclass(kw_only=True)
class LogitDifferences:
    """Collects the differences of two ways to compute the same images, batch by batch.

    Attributes:
        largest: the largest difference of a logit.
        largest_logit: the largest absolute value that either way computes.
    """

    largest: float = 0.0
    largest_logit: float = 1e-12
    _sum: float = 0.0
    _logits: int = 0
    _gaps: list[NDArray[np.floating[Any]]] = field(default_factory=list)

    def add(self, one: Float32Array, reference: Float32Array) -> None:
        """Add the logits of a batch, each (N, classes)."""
        apart = np.abs(one - reference)
        self.largest = max(self.largest, float(apart.max()))
        self.largest_logit = max(self.largest_logit, float(np.abs(one).max()), float(np.abs(reference).max()))
        self._sum, self._logits = self._sum + float(apart.sum()), self._logits + apart.size
        own, best = one.argmax(1), reference.argmax(1)
        rows = np.flatnonzero(own != best)
        self._gaps.append(reference[rows, best[rows]] - reference[rows, own[rows]])

    @property
    def mean(self) -> float:
        """The mean absolute difference of the logits."""
        return self._sum / self._logits

    @property
    def ties(self) -> int:
        """Number of images whose class differs, but whose gap is at most ``mean``."""
        if not self.mean <= SAME * self.largest_logit:
            return 0
        return int((np.concatenate(self._gaps) <= self.mean).sum())

    @property
    def argmax_differences(self) -> int:
        """Number of images whose class differs, without ties."""
        return sum(map(len, self._gaps)) - self.ties


def compare_forward(one: Session, other: Session, batches: Batches, advance: Callable[[int], None]) -> Agreement:
    """Run every image of ``batches`` through two sessions, and compare the logits.

    Args:
        one: a quantized network.
        other: another way to compute the same network, the reference for ties.
        batches: the images.
        advance: called with the number of images done.
    """
    images = hits = 0
    differences = LogitDifferences()
    for batch, labels in batches:
        own = one.logits(batch)
        differences.add(own, other.logits(batch))
        images += len(batch)
        hits += int((own.argmax(1) == labels).sum())
        advance(images)
    return Agreement(
        images=images,
        argmax_differences=differences.argmax_differences,
        ties=differences.ties,
        max_difference=differences.largest / differences.largest_logit,
        mean_difference=differences.mean / differences.largest_logit,
        top1=100.0 * hits / images,
    )


def count_ties(one: Session, reference: Session, batches: Batches) -> int:
    """The number of ties among images whose class differs. Only these images have to run again.

    Args:
        one: a quantized network.
        reference: another way to compute it.
        batches: the images whose class differs; the mean difference is that of their logits.
    """
    differences = LogitDifferences()
    for batch, _ in batches:
        differences.add(one.logits(batch), reference.logits(batch))
    return differences.ties
