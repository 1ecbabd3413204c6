"""Mean average precision at an intersection over union of 0.5, for detection."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from amctq.data.samples import Targets
from amctq.errors import InputError
from amctq.inference.metrics.own import PlainScore
from amctq.inference.metrics.score import Metric, MetricName, Score, Scoring
from amctq.inference.session import Outputs

MAP50 = MetricName(key="map50", title="mAP at IoU 0.5")
_OVERLAP = 0.5
_COLUMNS = 6  # left, top, right, bottom, score, class
_RECALLS = np.linspace(0, 1, 101)  # where COCO reads the precision
_BOXES = "expected boxes (N, boxes, 6) or (N, boxes, 4), (N, boxes), (N, boxes): left, top, right, bottom, score, class"


class Map50(Metric):
    """Mean over the classes of the average precision, as COCO has it: 101 points of the interpolated precision.

    The network gives decoded boxes, (N, boxes, 6): left, top, right, bottom, score, class; or three outputs: boxes
    (N, boxes, 4), scores (N, boxes), classes (N, boxes). Boxes of score 0 fill up. A target is an array (boxes, 5):
    left, top, right, bottom, class.
    """

    name = MAP50

    def start(self) -> Scoring:
        """Begin a pass."""
        return _Matching()


class _Matching(Scoring):
    def __init__(self) -> None:
        self._found: list[NDArray[Any]] = []
        self._wanted: list[NDArray[Any]] = []

    def add(self, outputs: Outputs, targets: Targets) -> None:
        boxes = _decoded(outputs)
        wanted = [np.asarray(target, np.float64).reshape(-1, 5) for target in ([] if targets is None else targets)]
        if len(wanted) != len(boxes):
            message = f"--metric map50: {len(boxes)} samples and {len(wanted)} targets"
            raise InputError(message, hint="a target is an array (boxes, 5): left, top, right, bottom, class")
        self._found += list(boxes)
        self._wanted += wanted

    def finish(self) -> Score:
        classes = sorted({int(box[4]) for boxes in self._wanted for box in boxes})
        if not classes:
            message = "--metric map50: no sample has a box in its target"
            raise InputError(message, hint="give samples with boxes")
        precision = float(np.mean([self._average_precision(number) for number in classes]))
        return PlainScore(MAP50, precision, len(self._found))

    def _average_precision(self, number: int) -> float:
        """The area under the precision of one class over its recall."""
        scores: list[NDArray[Any]] = []
        hits: list[NDArray[np.bool_]] = []
        existing = 0
        for found, wanted in zip(self._found, self._wanted, strict=True):
            mine = found[(found[:, 5] == number) & (found[:, 4] > 0)]
            mine = mine[np.argsort(-mine[:, 4], kind="stable")]
            truth = wanted[wanted[:, 4] == number]
            existing += len(truth)
            scores.append(mine[:, 4])
            hits.append(_hits(mine, truth))
        order = np.argsort(-np.concatenate(scores), kind="stable")
        right = np.cumsum(np.concatenate(hits)[order])
        recall, precision = right / existing, right / np.arange(1, len(right) + 1)
        best = np.maximum.accumulate(precision[::-1])[::-1]
        places = np.searchsorted(recall, _RECALLS, side="left")
        return float(np.mean(np.append(best, 0.0)[np.minimum(places, len(best))]))


def _decoded(outputs: Outputs) -> NDArray[np.float64]:
    if len(outputs) == 3 and outputs[0].ndim == 3 and outputs[0].shape[2] == 4:
        boxes, *others = outputs
        if all(other.reshape(len(boxes), -1).shape == boxes.shape[:2] for other in others):
            others = [other.reshape(*boxes.shape[:2], 1) for other in others]
            whole: NDArray[np.float64] = np.concatenate([boxes, *others], axis=2).astype(np.float64)
            return whole
    if len(outputs) == 1 and outputs[0].ndim == 3 and outputs[0].shape[2] == _COLUMNS:
        only: NDArray[np.float64] = outputs[0].astype(np.float64)
        return only
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
