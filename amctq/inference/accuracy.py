"""Accuracy, measured by the label rank of every image."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from amctq.data.samples import Batches, check_finite, check_labels
from amctq.errors import InputError
from amctq.inference.session import Session
from amctq.quant.numerics import Float32Array


@dataclass(frozen=True, eq=False)
class LabelRanks:
    """The label ranks of all images, and the number of classes.

    A label rank is the number of classes with a higher score than the label: 0 is a top-1 hit. Of classes with equal
    scores, the one with the lower index comes first, as in arg-max.
    """

    ranks: NDArray[np.int64]
    classes: int

    @property
    def hits(self) -> NDArray[np.bool_]:
        """Whether the label of each image scored highest, bool (N,)."""
        return np.equal(self.ranks, 0)

    @property
    def top1(self) -> float:
        """Percent of images whose label scored highest."""
        return 100.0 * float(np.mean(self.hits))

    @property
    def top5(self) -> float:
        """Percent of images whose label is among the five highest scores."""
        return 100.0 * float(np.mean(self.ranks < 5))


def rank_labels(logits: Float32Array, labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """The label ranks, (N,), of ``logits`` (N, classes) with ``labels`` (N,)."""
    scores = logits[np.arange(len(labels)), labels][:, None]
    tied = (logits == scores) & (np.arange(logits.shape[1])[None, :] < labels[:, None])
    ranks: NDArray[np.int64] = ((logits > scores) | tied | np.isnan(logits)).sum(axis=1)
    return ranks


@dataclass(frozen=True, kw_only=True, eq=False)
class Outcome:
    """The result of a network for every image.

    Attributes:
        ranks: the label ranks.
        predicted: the class that scored highest, int64 (N,).
    """

    ranks: LabelRanks
    predicted: NDArray[np.int64]

    def disagreeing(self, other: Outcome) -> NDArray[np.int64]:
        """Positions of the images for which another network predicts another class."""
        return np.flatnonzero(self.predicted != other.predicted)

    def disagreements(self, other: Outcome) -> int:
        """The number of images for which another network predicts another class."""
        return len(self.disagreeing(other))


def measure(session: Session, batches: Batches, advance: Callable[[int], None]) -> LabelRanks:
    """Run every image of ``batches`` through a session; as ``classify``, but with only the label ranks."""
    return classify(session, batches, advance).ranks


def classify(session: Session, batches: Batches, advance: Callable[[int], None]) -> Outcome:
    """Run every image of ``batches`` through a session; ``advance`` is called with the number of images done.

    Raises:
        InputError: the network gives no scores of classes, an image has a class that it does not have or holds NaN or
            infinity, or the network gives NaN: none of these is a miss.
    """
    ranks: list[NDArray[np.int64]] = []
    predicted: list[NDArray[np.int64]] = []
    done = classes = 0
    for images, labels in batches:
        check_finite(images, done, "--dataset")
        logits = session.logits(images)
        if logits.ndim != 2 or len(logits) != len(labels) or not np.issubdtype(logits.dtype, np.number):
            message = f"the network gives {logits.dtype} {logits.shape} for {len(labels)} images"
            raise InputError(message, hint="expected the scores of classes, numbers (N, classes)")
        check_labels(labels, logits.shape[1])
        if wrong := int(np.isnan(logits).any(axis=1).sum()):
            message = f"the network gives NaN for {wrong} of the images {done:,} to {done + len(labels) - 1:,}"
            raise InputError(message, hint="its parameters, or how the images are prepared, do not fit")
        classes = logits.shape[1]
        ranks.append(rank_labels(logits, labels))
        predicted.append(logits.argmax(1))
        done += len(labels)
        advance(done)
    return Outcome(ranks=LabelRanks(np.concatenate(ranks), classes), predicted=np.concatenate(predicted))
