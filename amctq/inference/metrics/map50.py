"""Mean average precision at an intersection over union of 0.5, for detection."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from amctq.data.samples import Targets
from amctq.errors import InputError
from amctq.inference.metrics.score import Metric, MetricName, Score, Scoring
from amctq.inference.metrics.targets import described, one_array
from amctq.inference.session import Outputs

MAP50 = MetricName(key="map50", title="mAP at IoU 0.5", digits=4)
_OVERLAP = 0.5
_COLUMNS = 6  # left, top, right, bottom, score, class
_RECALLS = np.linspace(0, 1, 101)  # where COCO reads the precision
_BOXES = "expected boxes (N, boxes, 6) or (N, boxes, 4), (N, boxes), (N, boxes): left, top, right, bottom, score, class"
_TARGET = "a target is an array (boxes, 5): left, top, right, bottom, class; rows of class -1 are no boxes"


class Map50(Metric):
    """Mean over the classes of the average precision, as COCO has it: 101 points of the interpolated precision.

    The first output has decoded boxes, (N, boxes, 6): left, top, right, bottom, score, class; or the first three have
    boxes (N, boxes, 4), scores (N, boxes), classes (N, boxes). Further outputs are not read, and boxes of score 0 fill
    up; one whose right lies before its left has area 0 and finds nothing. A target is an array (boxes, 5): left, top,
    right, bottom, class; rows of a negative class fill up.
    """

    name = MAP50

    def start(self) -> Scoring:
        """Begin a pass."""
        return _Matching()


@dataclass(frozen=True, kw_only=True, eq=False)
class _Class:
    """What was found of one class, best first, down to the last box that hits.

    Attributes:
        samples: int64 (boxes,), the sample of each box.
        hits: bool (boxes,), whether it is the first to find a box of the target.
        existing: int64 (N,), boxes of the targets, by sample.
    """

    samples: NDArray[np.int64]
    hits: NDArray[np.bool_]
    existing: NDArray[np.int64]

    def average_precision(self, times: NDArray[np.int64]) -> float | None:
        """The area under the precision over the recall; None where the samples have no box of the class.

        Args:
            times: int64 (N,), how often each sample counts.
        """
        existing = int(times @ self.existing)
        if not existing:
            return None
        counted = times[self.samples]
        # Precision is highest where a box hits. The same boxes again make it no higher before the last of them.
        found, right = np.cumsum(counted)[self.hits], np.cumsum(counted[self.hits])
        best = np.maximum.accumulate((right / np.maximum(found, 1))[::-1])[::-1]
        places = np.searchsorted(right / existing, _RECALLS, side="left")
        return float(np.mean(np.append(best, 0.0)[np.minimum(places, len(best))]))


class BoxScore(Score):
    """The mean over the classes that occur in the targets, of their average precision.

    Args:
        classes: each of them.
        samples: how many there are.
    """

    def __init__(self, classes: Sequence[_Class], samples: int) -> None:
        self.metric, self.samples, self._classes = MAP50, samples, classes

    @property
    def value(self) -> float:
        """The value of all samples."""
        return self.resampled(np.arange(self.samples))

    def resampled(self, positions: NDArray[np.int64]) -> float:
        """The value of these samples; 0 where none of them has a box."""
        times = np.bincount(positions, minlength=self.samples)
        each = [one.average_precision(times) for one in self._classes]
        return float(np.mean([precision for precision in each if precision is not None] or [0.0]))


class _Matching(Scoring):
    def __init__(self) -> None:
        self._found: list[NDArray[Any]] = []
        self._wanted: list[NDArray[Any]] = []

    def add(self, outputs: Outputs, targets: Targets) -> None:
        boxes = _decoded(outputs)
        wanted = [] if targets is None else list(targets)
        if len(wanted) != len(boxes):
            message = f"--metric map50: {len(boxes)} samples and {len(wanted)} targets"
            raise InputError(message, hint=_TARGET)
        self._wanted += [_target(target, number) for number, target in enumerate(wanted, len(self._wanted))]
        self._found += list(boxes)

    def finish(self) -> Score:
        classes = np.unique(np.concatenate([wanted[:, 4] for wanted in self._wanted]))
        if not len(classes):
            message = "--metric map50: no sample has a box in its target"
            raise InputError(message, hint="give samples with boxes")
        return BoxScore([self._of_class(number) for number in classes], len(self._found))

    def _of_class(self, number: float) -> _Class:
        scores: list[NDArray[Any]] = []
        hits: list[NDArray[np.bool_]] = []
        existing: list[int] = []
        for found, wanted in zip(self._found, self._wanted, strict=True):
            mine = found[(found[:, 5] == number) & (found[:, 4] > 0)]
            mine = mine[np.argsort(-mine[:, 4], kind="stable")]
            truth = wanted[wanted[:, 4] == number]
            existing.append(len(truth))
            scores.append(mine[:, 4])
            hits.append(_hits(mine, truth))
        order = np.argsort(-np.concatenate(scores), kind="stable")
        ordered = np.concatenate(hits)[order]
        order = order[: np.flatnonzero(ordered)[-1] + 1] if ordered.any() else order[:0]
        samples = np.repeat(np.arange(len(scores)), [len(part) for part in scores])
        return _Class(samples=samples[order], hits=ordered[: len(order)], existing=np.asarray(existing))


def _target(target: Any, number: int) -> NDArray[np.float64]:
    """The boxes of a sample, float64 (boxes, 5), without the rows that only fill up."""
    boxes = one_array(target)
    if boxes is None or (boxes.size and boxes.shape[-1:] != (5,)):
        message = f"--metric map50: sample {number} has {described(target)}"
        raise InputError(message, hint=_TARGET)
    rows = boxes.reshape(-1, 5).astype(np.float64)
    if not np.isfinite(rows).all() or (rows[:, 4] % 1).any():
        message = (
            f"--metric map50: the target of sample {number} holds NaN, infinity, or a class that is no whole number"
        )
        raise InputError(message, hint=_TARGET)
    rows = rows[rows[:, 4] >= 0]
    turned = (rows[:, 2:4] < rows[:, :2]).any(axis=1)
    if turned.any():
        found = ", ".join(f"{side:g}" for side in rows[turned.argmax(), :4])
        message = (
            f"--metric map50: a target of sample {number} is {found}, where right lies before left or bottom before top"
        )
        raise InputError(message, hint=_TARGET)
    return rows


def _decoded(outputs: Outputs) -> NDArray[np.float64]:
    if outputs[0].ndim == 3 and outputs[0].shape[2] == _COLUMNS:
        first: NDArray[np.float64] = outputs[0].astype(np.float64)
        return first
    if len(outputs) >= 3 and outputs[0].ndim == 3 and outputs[0].shape[2] == 4:
        boxes, *others = outputs[:3]
        if all(other.reshape(len(boxes), -1).shape == boxes.shape[:2] for other in others):
            others = [other.reshape(*boxes.shape[:2], 1) for other in others]
            whole: NDArray[np.float64] = np.concatenate([boxes, *others], axis=2).astype(np.float64)
            return whole
    found = ", ".join(str(array.shape) for array in outputs)
    message = f"--metric map50: the network gives {found}"
    raise InputError(message, hint=f"{_BOXES}; or write your own metric, which decodes them")


def _hits(found: NDArray[Any], wanted: NDArray[Any]) -> NDArray[np.bool_]:
    """Which boxes, best first, are the first to find a box of the target."""
    hits = np.zeros(len(found), bool)
    free = np.ones(len(wanted), bool)
    for place, box in enumerate(found):
        overlap = np.where(free, _overlaps(box, wanted), -1.0)
        best = int(overlap.argmax()) if len(overlap) else -1
        if best >= 0 and overlap[best] >= _OVERLAP:
            hits[place], free[best] = True, False
    return hits


def _overlaps(box: NDArray[Any], others: NDArray[Any]) -> NDArray[np.float64]:
    """Intersection over union of a box with each of others."""
    low, high = np.maximum(box[:2], others[:, :2]), np.minimum(box[2:4], others[:, 2:4])
    both = np.prod(np.clip(high - low, 0, None), axis=1)
    own, areas = (np.prod(np.clip(each[..., 2:4] - each[..., :2], 0, None), axis=-1) for each in (box, others))
    result: NDArray[np.float64] = both / np.maximum(own + areas - both, 1e-12)
    return result
