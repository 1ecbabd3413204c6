"""Mean average precision at an intersection over union of 0.5."""

from __future__ import annotations

import numpy as np
import pytest

from amctq.errors import InputError
from amctq.inference.metrics.map50 import Map50
from amctq.inference.metrics.score import Score
from amctq.inference.paired import paired_difference

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


def test_what_fills_up_a_target_is_no_box() -> None:
    assert _measured([[[*BOX, 0.9, 0]]], [[[*BOX, 0], [0.0, 0, 0, 0, -1]]]) == 1


def test_the_first_output_has_the_boxes() -> None:
    scoring = Map50().start()
    scoring.add((np.array([[[*BOX, 0.9, 0]]]), np.zeros((1, 7, 4, 4))), [np.array([[*BOX, 0]])])
    assert scoring.finish().value == 1


def _random(seed: int, noise: float, positions: list[int]) -> Score:
    """Of networks that find the boxes of 12 samples, not all of them and some wrongly; these samples, in that order."""
    draw = np.random.default_rng(seed)
    corners = draw.integers(0, 50, (12, 4, 2)).astype(float)
    kinds = draw.integers(-1, 3, (12, 4, 1)).astype(float)
    targets = np.concatenate([corners, corners + 10, kinds], axis=2)
    moved = targets[..., :4] + np.random.default_rng(9).normal(0, noise, (12, 4, 4))
    outputs = np.concatenate([moved, draw.uniform(0.1, 1, (12, 4, 1)), abs(kinds)], axis=2)
    scoring = Map50().start()
    scoring.add((outputs[positions],), targets[positions])
    return scoring.finish()


@pytest.mark.parametrize("seed", range(8))
def test_drawn_samples_have_the_value_of_these_samples(seed: int) -> None:
    drawn = np.random.default_rng(seed).integers(0, 12, 12)
    assert drawn.size > np.unique(drawn).size
    whole = _random(seed, 2.0, list(range(12)))
    assert 0.1 < whole.value < 0.9
    assert whole.resampled(drawn) == pytest.approx(_random(seed, 2.0, drawn.tolist()).value)


def test_the_interval_is_that_of_drawn_samples() -> None:
    before, after = (_random(1, noise, list(range(12))) for noise in (1.0, 2.0))
    difference = paired_difference(before, after)
    assert difference.drop == pytest.approx(before.value - after.value)
    assert difference.interval is not None
    assert difference.interval[0] < difference.drop < difference.interval[1]
    assert paired_difference(before, before).interval == (0, 0)


def test_what_does_not_fit_is_refused() -> None:
    scoring = Map50().start()
    with pytest.raises(InputError, match="gives"):
        scoring.add((np.zeros((2, 7), np.float32),), [np.zeros((1, 5))] * 2)
    with pytest.raises(InputError, match="targets"):
        scoring.add((np.zeros((2, 3, 6), np.float32),), None)
    scoring.add((np.zeros((2, 3, 6), np.float32),), [np.zeros((0, 5))] * 2)
    with pytest.raises(InputError, match="no sample has a box"):
        scoring.finish()


@pytest.mark.parametrize("box", [(5, 1, 1, 5, 0), (1, 5, 5, 1, 0)])
def test_a_target_that_is_no_box_is_refused(box: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="right lies before left or bottom before top"):
        Map50().start().add((np.zeros((2, 3, 6), np.float32),), [np.zeros((0, 5)), np.asarray([[0, 0, 1, 1, 0], box])])
    fills = np.asarray([[0, 0, 1, 1, 0], (*box[:4], -1)])
    Map50().start().add((np.zeros((1, 3, 6), np.float32),), [fills])
