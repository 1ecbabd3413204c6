"""What quantization changes for single samples: classes that lose, and the samples that lose most."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from amctq.inference.metrics.top1 import LabelRanks
from amctq.services.run.thumbnail import thumbnails

if TYPE_CHECKING:
    from amctq.data.samples import Samples
    from amctq.inference.metrics.measure import Outcome

_WORST = 12  # samples
_CHANGES = 24  # triples of classes


@dataclass(frozen=True, kw_only=True)
class SampleChanges:
    """Changes from float to quantized on the evaluation samples, ready for the report.

    Attributes:
        classes: by class, its samples and how many are right; and what became of the samples whose class changed. None
            where the network gives no classes.
        worst: the samples that lose most, worst first: those that are right in float and wrong after quantization, then
            those whose class loses most margin. Empty where the metric has no score of a sample.
    """

    classes: Mapping[str, Any] | None
    worst: Sequence[Mapping[str, Any]]


def sample_changes(before: Outcome | None, after: Outcome, samples: Samples) -> SampleChanges:
    """Compare the outcomes of two networks on the same samples.

    Args:
        before: of the float network; None where only one network was measured.
        after: of the quantized network, or of the only one.
        samples: what they were measured on.

    Raises:
        InputError: a sample cannot be read again.
    """
    score, first = after.score, None if before is None else before.score
    if isinstance(score, LabelRanks) and score.labels is not None and after.predicted is not None:
        start = None if before is None else before.predicted
        classes = _classes(score.labels, start, after.predicted, samples.class_names)
        losses = _losses(first.margins if isinstance(first, LabelRanks) else None, score.margins)
        lost = None if not isinstance(first, LabelRanks) else first.hits & ~score.hits
    else:
        classes, lost = None, None
        rises = 1.0 if score.metric.rises else -1.0
        losses = _losses(None if first is None else first.per_sample, score.per_sample, rises)
    if losses is None:
        return SampleChanges(classes=classes, worst=())
    # Samples whose class is lost come first: an easy one may lose more margin and stay right. Of equal losses the first
    # sample comes first, so that two runs agree.
    keys = (-losses,) if lost is None else (-losses, ~lost)
    positions = np.lexsort(keys)[:_WORST]
    positions = positions[losses[positions] > 0] if before is not None else positions
    return SampleChanges(classes=classes, worst=_worst(before, after, samples, positions))


def _losses(before: NDArray[Any] | None, after: NDArray[Any] | None, rises: float = 1.0) -> NDArray[np.float64] | None:
    """How much each sample loses, (N,); of one network alone, how bad it is."""
    if after is None:
        return None
    start = 0.0 if before is None else before.astype(np.float64)
    with np.errstate(invalid="ignore"):  # of infinite scores
        losses: NDArray[np.float64] = np.nan_to_num(rises * (start - after.astype(np.float64)))
    return losses


def _classes(
    labels: NDArray[np.int64],
    before: NDArray[np.int64] | None,
    after: NDArray[np.int64],
    names: Sequence[str] | None,
) -> dict[str, Any]:
    size = int(labels.max()) + 1
    columns = {"samples": np.bincount(labels, minlength=size)}
    if before is not None:
        columns["float"] = np.bincount(labels[before == labels], minlength=size)
    columns["quantized"] = np.bincount(labels[after == labels], minlength=size)
    known = np.flatnonzero(columns["samples"]).tolist()
    start = labels if before is None else before
    moved = np.flatnonzero(start != after)
    triples = Counter(zip(*(part[moved].tolist() for part in (labels, start, after)), strict=True))
    ordered = sorted(triples.items(), key=lambda item: (-item[1], item[0]))[:_CHANGES]
    return {
        "per_class": [
            {"class": row, "name": _name(names, row), **{name: int(each[row]) for name, each in columns.items()}}
            for row in known
        ],
        "changed": len(moved),
        "changes": [
            {"target": target, **({} if before is None else {"float": one}), "quantized": other, "samples": count}
            for (target, one, other), count in ordered
        ],
    }


def _name(names: Sequence[str] | None, row: int) -> str | None:
    return None if names is None or row >= len(names) else names[row]


def _worst(
    before: Outcome | None, after: Outcome, samples: Samples, positions: NDArray[np.int64]
) -> list[dict[str, Any]]:
    pictures = thumbnails(samples, positions)
    rows: list[dict[str, Any]] = []
    for place, position in enumerate(positions.tolist()):
        row: dict[str, Any] = {"index": int(samples.indices[position])}
        for name, outcome in (("float", before), ("quantized", after)):
            if outcome is None:
                continue
            score = outcome.score
            if isinstance(score, LabelRanks) and score.labels is not None and score.margins is not None:
                row["target"] = int(score.labels[position])
                row[name] = None if outcome.predicted is None else int(outcome.predicted[position])
                row[f"{name}_margin"] = _short(score.margins[position])
            elif score.per_sample is not None:
                row[f"{name}_score"] = _short(score.per_sample[position])
        rows.append(row | {"thumbnail": None if pictures is None else pictures[place]})
    return rows


def _short(value: Any) -> float | None:
    return float(f"{float(value):.5g}") if np.isfinite(value) else None
