"""Mean intersection over union."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from amctq.errors import InputError
from amctq.inference.metrics.miou import MeanIou
from amctq.inference.metrics.score import Score
from amctq.inference.paired import paired_difference

DRAW = np.random.default_rng(3)
CLASSES = 4
TARGETS = DRAW.integers(0, CLASSES, (10, 6, 5))
SCORES = DRAW.normal(size=(10, CLASSES, 6, 5)).astype(np.float32)


def _measured(outputs: NDArray[Any], targets: NDArray[Any], batch: int = 4) -> Score:
    scoring = MeanIou().start()
    for start in range(0, len(outputs), batch):
        scoring.add((outputs[start : start + batch],), targets[start : start + batch])
    return scoring.finish()


def _by_sets(found: NDArray[Any], wanted: NDArray[Any]) -> float:
    counted = (wanted >= 0) & (wanted != 255)
    shares = []
    for number in range(CLASSES):
        one, other = (found == number) & counted, (wanted == number) & counted
        if (one | other).any():
            shares.append((one & other).sum() / (one | other).sum())
    return float(np.mean(shares))


@pytest.mark.parametrize("ignored", [255, -1])
def test_the_value_is_that_of_sets_of_pixels(ignored: int) -> None:
    targets = TARGETS.copy()
    targets[:, 0] = ignored
    score = _measured(SCORES, targets)
    assert score.value == pytest.approx(_by_sets(SCORES.argmax(axis=1), targets))
    assert _measured(SCORES.argmax(axis=1).astype(np.int32), targets).value == pytest.approx(score.value)
    assert score.samples == 10


def test_what_is_right_is_one() -> None:
    assert _measured(np.eye(CLASSES, dtype=np.float32)[TARGETS].transpose(0, 3, 1, 2), TARGETS).value == 1


def test_the_interval_is_that_of_drawn_samples() -> None:
    right = np.eye(CLASSES, dtype=np.float32)[TARGETS].transpose(0, 3, 1, 2)
    before, after = _measured(right, TARGETS), _measured(np.where(right > 0, SCORES, right), TARGETS)
    difference = paired_difference(before, after)
    assert difference.drop == pytest.approx(before.value - after.value)
    assert difference.interval is not None
    assert difference.interval[0] < difference.drop < difference.interval[1]
    assert paired_difference(before, before).interval == (0, 0)


@pytest.mark.parametrize(
    ("outputs", "targets"),
    [
        (SCORES[:, 0, 0], TARGETS),
        (SCORES, TARGETS[:, :3]),
        (SCORES, TARGETS.astype(np.float32)),
        (SCORES, TARGETS + CLASSES),
        (SCORES[:, 0], TARGETS),
    ],
)
def test_what_does_not_fit_is_refused(outputs: NDArray[Any], targets: NDArray[Any]) -> None:
    with pytest.raises(InputError) as caught:
        _measured(outputs, targets)
    assert caught.value.hint


def test_targets_without_a_pixel_that_counts_are_refused() -> None:
    for ignored in (255, -1):
        with pytest.raises(InputError, match="no pixel counts"):
            _measured(SCORES, np.full_like(TARGETS, ignored))
