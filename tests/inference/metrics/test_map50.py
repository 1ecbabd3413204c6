"""Mean average precision at an intersection over union of 0.5."""

from __future__ import annotations

import numpy as np
import pytest

from amctq.errors import InputError
from amctq.inference.metrics.map50 import Map50

BOX = [10.0, 10.0, 20.0, 20.0]
FAR = [50.0, 50.0, 60.0, 60.0]


def _measured(found: list[list[list[float]]], wanted: list[list[list[float]]]) -> float:
    """Of boxes with score and class for each sample, filled up to one number."""
    most = max(map(len, found))
    boxes = np.asarray([one + [[0.0] * 6] * (most - len(one)) for one in found], np.float32)
    scoring = Map50().start()
    scoring.add((boxes,), [np.asarray(one, np.float64).reshape(-1, 5) for one in wanted])
    value = scoring.finish().value
    apart = Map50().start()
    apart.add((boxes[..., :4], boxes[..., 4], boxes[..., 5]), wanted)
    assert apart.finish().value == value
    return value


def test_every_box_found_is_one() -> None:
    assert _measured([[[*BOX, 0.9, 0]], [[*FAR, 0.8, 1]]], [[[*BOX, 0]], [[*FAR, 1]]]) == 1


def test_a_box_that_is_missed_halves_the_recall() -> None:
    value = _measured([[[*BOX, 0.9, 0]]], [[[*BOX, 0], [*FAR, 0]]])
    assert value == pytest.approx(51 / 101)  # the points of recall 0 to 0.5


def test_a_wrong_box_counts_only_before_the_right_ones() -> None:
    right, wrong = [*BOX, 0.5, 0], FAR
    assert _measured([[[*wrong, 0.4, 0], right]], [[[*BOX, 0]]]) == 1
    assert _measured([[[*wrong, 0.6, 0], right]], [[[*BOX, 0]]]) == pytest.approx(0.5)


def test_a_second_box_on_the_same_target_is_wrong() -> None:
    again = [11.0, 10.0, 20.0, 20.0, 0.8, 0.0]
    assert _measured([[[*BOX, 0.9, 0], again]], [[[*BOX, 0], [*FAR, 0]]]) == pytest.approx(51 / 101)


@pytest.mark.parametrize(("right", "value"), [(19.9, 1.0), (14.0, 0.0)])
def test_a_box_must_overlap_by_half(right: float, value: float) -> None:
    assert _measured([[[10.0, 10.0, right, 20.0, 0.9, 0.0]]], [[[*BOX, 0]]]) == value


def test_a_class_of_its_own_and_the_mean_over_them() -> None:
    assert _measured([[[*BOX, 0.9, 1]]], [[[*BOX, 0]]]) == 0
    assert _measured([[[*BOX, 0.9, 0]]], [[[*BOX, 0], [*FAR, 1]]]) == pytest.approx(0.5)


def test_what_does_not_fit_is_refused() -> None:
    scoring = Map50().start()
    with pytest.raises(InputError, match="gives"):
        scoring.add((np.zeros((2, 7), np.float32),), [np.zeros((1, 5))] * 2)
    with pytest.raises(InputError, match="targets"):
        scoring.add((np.zeros((2, 3, 6), np.float32),), None)
    scoring.add((np.zeros((2, 3, 6), np.float32),), [np.zeros((0, 5))] * 2)
    with pytest.raises(InputError, match="no sample has a box"):
        scoring.finish()
