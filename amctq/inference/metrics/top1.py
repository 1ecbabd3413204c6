"""Accuracy of a classifier, measured by the label rank of every sample."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from amctq.data.samples import Targets, check_labels
from amctq.errors import InputError
from amctq.inference.classes import gives_classes
from amctq.inference.metrics.score import Metric, MetricName, Score, Scoring
from amctq.inference.metrics.targets import described, one_array
from amctq.inference.session import Outputs

TOP1 = MetricName(key="top1", title="top-1, %", unit="points", digits=2)


@dataclass(frozen=True, eq=False)
class LabelRanks(Score):
    """The label ranks of all samples, and the number of classes.

    A label rank is the number of classes with a higher score than the label: 0 is a top-1 hit. Of classes with equal
    scores, the one with the lower index comes first, as in arg-max.

    Attributes:
        labels: int64 (N,); None where only the ranks are known.
        margins: float32 (N,), the score of the label without the highest other score; None as ``labels``.
    """

    ranks: NDArray[np.int64]
    classes: int
    labels: NDArray[np.int64] | None = None
    margins: NDArray[np.float32] | None = None
    metric: MetricName = field(default=TOP1, init=False)

    @property
    def samples(self) -> int:  # type: ignore[override]
        """How many."""
        return len(self.ranks)

    @property
    def value(self) -> float:
        """Top-1."""
        return self.top1

    @property
    def figures(self) -> Mapping[str, float]:
        """Top-1 and top-5."""
        return {"top1": self.top1, "top5": self.top5}

    @property
    def per_sample(self) -> NDArray[np.bool_]:
        """The hits."""
        return self.hits

    @property
    def hits(self) -> NDArray[np.bool_]:
        """Whether the label of each sample scored highest, bool (N,)."""
        return np.equal(self.ranks, 0)

    @property
    def top1(self) -> float:
        """Percent of samples whose label scored highest."""
        return 100.0 * float(np.mean(self.hits))

    @property
    def top5(self) -> float:
        """Percent of samples whose label is among the five highest scores."""
        return 100.0 * float(np.mean(self.ranks < 5))


def rank_labels(logits: NDArray[Any], labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """The label ranks, (N,), of ``logits`` (N, classes) with ``labels`` (N,)."""
    scores = logits[np.arange(len(labels)), labels][:, None]
    tied = (logits == scores) & (np.arange(logits.shape[1])[None, :] < labels[:, None])
    ranks: NDArray[np.int64] = ((logits > scores) | tied | np.isnan(logits)).sum(axis=1)
    return ranks


def label_margins(logits: NDArray[Any], labels: NDArray[np.int64]) -> NDArray[np.float32]:
    """The score of the label without the highest other one, (N,), of ``logits`` (N, classes); below 0 for a miss."""
    rows = np.arange(len(labels))
    others = logits.astype(np.float32)
    scores = others[rows, labels]
    others[rows, labels] = -np.inf
    with np.errstate(invalid="ignore"):  # of two infinite scores
        margins: NDArray[np.float32] = scores - others.max(axis=1)
    return margins


class Top1(Metric):
    """Top-1 and top-5 of a classifier: one output (N, classes), and classes as targets."""

    name = TOP1

    def start(self) -> Scoring:
        """Begin a pass."""
        return _Ranking()


class _Ranking(Scoring):
    def __init__(self) -> None:
        self._ranks: list[NDArray[np.int64]] = []
        self._labels: list[NDArray[np.int64]] = []
        self._margins: list[NDArray[np.float32]] = []
        self._classes = 0

    def add(self, outputs: Outputs, targets: Targets) -> None:
        if not gives_classes(outputs):
            shapes = ", ".join(f"{array.dtype} {array.shape}" for array in outputs)
            message = f"the network gives {shapes}, and top-1 needs (N, classes)"
            raise InputError(message, hint="name another --metric, or give amctq only the classifier")
        labels = one_array(targets)
        if labels is None or labels.shape != outputs[0].shape[:1] or labels.dtype.kind not in "iu":
            message = f"the dataset gives {described(targets)}, and top-1 needs a class for each of {len(outputs[0])}"
            raise InputError(message, hint="give whole numbers as targets, or name another --metric")
        check_labels(labels, outputs[0].shape[1])
        self._classes = outputs[0].shape[1]
        self._ranks.append(rank_labels(outputs[0], labels))
        self._labels.append(labels.astype(np.int64))
        self._margins.append(label_margins(outputs[0], labels))

    def finish(self) -> LabelRanks:
        return LabelRanks(
            np.concatenate(self._ranks),
            self._classes,
            labels=np.concatenate(self._labels),
            margins=np.concatenate(self._margins),
        )
