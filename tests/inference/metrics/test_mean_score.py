"""PSNR and mean absolute error."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from amctq.errors import InputError
from amctq.inference.metrics.mean_score import MeanAbsoluteError, MeanScore, Psnr
from amctq.inference.metrics.score import Metric, Score
from amctq.inference.paired import paired_difference

DRAW = np.random.default_rng(7)
TARGETS = DRAW.uniform(0, 1, (12, 3, 8, 8)).astype(np.float32)
TARGETS[0, 0, 0, :2] = 0, 1  # the whole range


def _measured(metric: Metric, outputs: NDArray[Any], targets: object = TARGETS, *, batch: int = 5) -> Score:
    scoring = metric.start()
    for start in range(0, len(outputs), batch):
        part = targets[start : start + batch] if isinstance(targets, np.ndarray) else targets
        scoring.add((outputs[start : start + batch],), part)
    return scoring.finish()


@pytest.mark.parametrize("metric", [Psnr(), MeanAbsoluteError()])
def test_the_batch_does_not_matter(metric: Metric) -> None:
    outputs = TARGETS + DRAW.normal(0, 0.1, TARGETS.shape).astype(np.float32)
    one, other = (_measured(metric, outputs, batch=batch) for batch in (1, 12))
    assert one.value == pytest.approx(other.value, rel=1e-12)
    assert one.samples == 12


def test_psnr_by_its_definition() -> None:
    outputs = TARGETS + np.float32(0.1)
    assert _measured(Psnr(), outputs).value == pytest.approx(20, abs=1e-4)  # 10 log10(1 / 0.01)
    assert _measured(Psnr(), TARGETS).value == pytest.approx(100)
    assert _measured(Psnr(), 255 * outputs, 255 * TARGETS).value == pytest.approx(20, abs=1e-4)


def test_a_smaller_error_is_better() -> None:
    near, far = (_measured(MeanAbsoluteError(), TARGETS + np.float32(by)) for by in (0.1, 0.3))
    assert near.value == pytest.approx(0.1, abs=1e-6)
    assert far.value == pytest.approx(0.3, abs=1e-6)
    difference = paired_difference(near, far)
    assert difference.drop == pytest.approx(0.2, abs=1e-6)
    assert difference.interval is not None
    low, high = difference.interval
    assert low <= difference.drop <= high


def test_a_column_of_values_is_a_list_of_them() -> None:
    targets = np.arange(6, dtype=np.float64)
    assert _measured(MeanAbsoluteError(), (targets + 1)[:, None], targets).value == pytest.approx(1)


@pytest.mark.parametrize(
    ("targets", "said"),
    [
        (None, "no targets"),
        (TARGETS[:, :1], f"targets {TARGETS.dtype} (5, 1, 8, 8)"),
        (np.full_like(TARGETS, np.nan), "NaN"),
        (np.full(TARGETS.shape, 1e300), "beyond float32"),
        (np.full(12, "x"), "targets"),
    ],
)
def test_targets_that_do_not_fit_are_refused(targets: object, said: str) -> None:
    with pytest.raises(InputError) as caught:
        _measured(MeanAbsoluteError(), TARGETS, targets)
    assert said in caught.value.message


def test_psnr_needs_a_range() -> None:
    with pytest.raises(InputError, match="same value"):
        _measured(Psnr(), TARGETS, np.zeros_like(TARGETS))


def test_the_interval_holds_the_drop_of_paired_samples() -> None:
    before = MeanScore(metric=Psnr.name, scores=DRAW.normal(30, 5, 400))
    after = MeanScore(metric=Psnr.name, scores=before.scores - 1 + DRAW.normal(0, 0.1, 400))
    difference = paired_difference(before, after)
    assert difference.interval is not None
    assert difference.interval[1] - difference.interval[0] < 0.05  # the spread between samples cancels
    assert difference.drop == pytest.approx(1, abs=0.02)
    assert difference.hits is None
