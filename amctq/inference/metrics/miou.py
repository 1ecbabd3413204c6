"""Mean intersection over union, for segmentation."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from amctq.data.samples import Targets
from amctq.errors import InputError
from amctq.inference.metrics.score import Metric, MetricName, Score, Scoring
from amctq.inference.metrics.targets import described, one_array
from amctq.inference.session import Outputs

MIOU = MetricName(key="miou", title="mIoU", digits=4)
_IGNORED = 255  # and all negative values, as in the usual datasets


@dataclass(frozen=True, kw_only=True, eq=False)
class ConfusionScore(Score):
    """The mean over the classes that occur, of intersection over union.

    Attributes:
        confusion: int32 (N, classes, classes): of each sample, pixels by class of the target and of the network.
    """

    confusion: NDArray[np.int32]
    metric: MetricName = field(default=MIOU, init=False)

    @property
    def samples(self) -> int:  # type: ignore[override]
        """How many."""
        return len(self.confusion)

    @property
    def value(self) -> float:
        """The mean intersection over union of all pixels."""
        return mean_iou(self.confusion.sum(axis=0, dtype=np.int64))

    def resampled(self, positions: NDArray[np.int64]) -> float:
        """The value of these samples."""
        return mean_iou(self.confusion[positions].sum(axis=0, dtype=np.int64))


def mean_iou(confusion: NDArray[np.int64]) -> float:
    """The mean over the classes that occur in the target or in what the network gives."""
    both = np.diagonal(confusion)
    either = confusion.sum(axis=0) + confusion.sum(axis=1) - both
    occurs = either > 0
    return float(np.mean(both[occurs] / either[occurs])) if occurs.any() else 0.0


class MeanIou(Metric):
    """Mean intersection over union.

    The first output has scores (N, classes, H, W), or classes as whole numbers (N, H, W); targets are whole numbers
    (N, H, W). 255 and negative numbers are ignored.
    """

    name = MIOU

    def start(self) -> Scoring:
        """Begin a pass."""
        return _Counting()


class _Counting(Scoring):
    def __init__(self) -> None:
        self._counts: list[NDArray[np.int32]] = []

    def add(self, outputs: Outputs, targets: Targets) -> None:
        values = outputs[0]
        scores = values.ndim == 4 and values.shape[1] > 1
        found = values.argmax(axis=1) if scores else values
        wanted = one_array(targets)
        whole = wanted is not None and wanted.dtype.kind in "iu" and found.dtype.kind in "iu"
        if wanted is None or not whole or found.ndim != 3 or wanted.shape != found.shape:
            given = f"the network gives {values.dtype} {values.shape}, and the dataset {described(targets)}"
            message = f"--metric miou: {given}"
            raise InputError(message, hint="expected scores (N, classes, H, W), and classes as whole numbers (N, H, W)")
        counted = (wanted >= 0) & (wanted != _IGNORED)
        largest = int(max(wanted.max(where=counted, initial=0), 0))
        classes = values.shape[1] if scores else int(max(largest, found.max(initial=0))) + 1
        if scores and largest >= classes:
            message = f"--metric miou: a target has class {largest}, and the network has {classes} classes (from 0)"
            raise InputError(message, hint="255 marks pixels that do not count")
        rows = zip(wanted.astype(np.int64), found.astype(np.int64), counted, strict=True)
        counts = [np.bincount(want[use] * classes + have[use], minlength=classes**2) for want, have, use in rows]
        self._counts.append(np.stack(counts).reshape(-1, classes, classes).astype(np.int32))

    def finish(self) -> Score:
        if not any(part.any() for part in self._counts):
            message = "--metric miou: no pixel counts: all targets are 255 or negative"
            raise InputError(message, hint="give samples with classes from 0")
        classes = max(part.shape[1] for part in self._counts)
        parts = [np.pad(part, ((0, 0), *[(0, classes - part.shape[1])] * 2)) for part in self._counts]
        return ConfusionScore(confusion=np.concatenate(parts))
