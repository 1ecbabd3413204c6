"""The agreement of two ways to compute the same network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from amctq.data.samples import Batches
from amctq.inference.session import Session


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """The agreement of two ways to compute the same network.

    Attributes:
        images: number of compared images.
        argmax_differences: number of images whose class differs.
        max_difference: largest difference of a logit, divided by the largest logit.
        mean_difference: mean difference of a logit, divided by the largest logit.
        top1: top-1 of the first way on these images, percent.
    """

    images: int
    argmax_differences: int
    max_difference: float
    mean_difference: float
    top1: float


def compare_forward(one: Session, other: Session, batches: Batches, advance: Callable[[int], None]) -> Agreement:
    """Run every image of ``batches`` through two sessions, and compare the logits.

    Args:
        one: a quantized network.
        other: another way to compute the same network.
        batches: the images.
        advance: called with the number of images done.
    """
    images = differences = logits = hits = 0
    largest = difference = total = 0.0
    for batch, labels in batches:
        own, exported = one.logits(batch), other.logits(batch)
        images += len(batch)
        hits += int((own.argmax(1) == labels).sum())
        differences += int((own.argmax(1) != exported.argmax(1)).sum())
        largest = max(largest, float(np.abs(own).max()))
        apart = np.abs(own - exported)
        difference, total, logits = max(difference, float(apart.max())), total + float(apart.sum()), logits + apart.size
        advance(images)
    largest = max(largest, 1e-12)
    return Agreement(
        images=images,
        argmax_differences=differences,
        max_difference=difference / largest,
        mean_difference=total / logits / largest,
        top1=100.0 * hits / images,
    )
