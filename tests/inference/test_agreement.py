"""Agreement of two sessions: what is a difference, and what is a tie."""

from __future__ import annotations

import numpy as np
import pytest

from amctq.data.arrays import ArraySamples
from amctq.data.inputs import IMAGE, Inputs
from amctq.data.samples import Batches
from amctq.inference.agreement import compare_forward
from amctq.inference.session import Outputs, Session
from amctq.quant.numerics import Float32Array


class Fixed(Session):
    """Gives each image the row of logits that its first pixel names."""

    def __init__(self, rows: Float32Array) -> None:
        self.rows = rows

    def run(self, inputs: Inputs) -> Outputs:
        return (self.rows[inputs[IMAGE][:, 0, 0, 0].astype(int)],)


def _batches(images: int) -> Batches:
    pixels = np.zeros((images, 1, 2, 2), np.float32)
    pixels[:, 0, 0, 0] = np.arange(images)
    samples = ArraySamples(
        pixels=pixels,
        labels=np.zeros(images, np.int64),
        preprocessing=None,
        sources=("x",),
        indices=np.arange(images),
    )
    return Batches(samples=samples, size=3)


def _rows(images: int, gap: float) -> Float32Array:
    """Class 0 wins by ``gap``; eight further classes are far behind."""
    rows = np.zeros((images, 10), np.float32)
    rows[:, 0], rows[:, 1] = 10, 10 - gap
    return rows


def _swapped(rows: Float32Array, images: int) -> Float32Array:
    """The first images name the other class, by as much."""
    other = rows.copy()
    other[:images, [0, 1]] = rows[:images, [1, 0]]
    return other


def test_a_class_that_wins_by_less_than_the_mean_difference_is_a_tie() -> None:
    reference = _rows(8, 0.002)
    other = _swapped(reference, 2)
    other[:, 2:] += 0.01  # so the mean difference is just under 0.01
    found = compare_forward(Fixed(other), Fixed(reference), _batches(8), lambda _: None)
    assert (found.argmax_differences, found.ties) == (0, 2)
    assert found.mean_difference == pytest.approx(0.0081 / 10, rel=0.02)


def test_a_class_that_wins_by_more_is_a_difference() -> None:
    reference = _rows(8, 0.02)
    other = _swapped(reference, 3)
    other[:, 2:] += 0.01
    found = compare_forward(Fixed(other), Fixed(reference), _batches(8), lambda _: None)
    assert (found.argmax_differences, found.ties) == (3, 0)


def test_the_gap_is_that_of_the_two_classes_concerned() -> None:
    """The best two of the reference are near, but the other session names a third class that is far behind."""
    reference = _rows(4, 0.001)
    other = reference.copy()
    other[:, 2:] += 0.02
    other[0, 5] = 10.1
    found = compare_forward(Fixed(other), Fixed(reference), _batches(4), lambda _: None)
    assert (found.argmax_differences, found.ties) == (1, 0)


def test_two_networks_that_do_not_compute_the_same_have_no_ties() -> None:
    random = np.random.default_rng(0)
    one, other = (random.normal(size=(50, 10)).astype(np.float32) for _ in range(2))
    found = compare_forward(Fixed(one), Fixed(other), _batches(50), lambda _: None)
    assert found.ties == 0
    assert found.argmax_differences == (one.argmax(1) != other.argmax(1)).sum()


def test_what_is_not_finite_is_never_a_tie() -> None:
    reference = _rows(4, 0.001)
    other = reference.copy()
    other[1, 3] = np.nan
    found = compare_forward(Fixed(other), Fixed(reference), _batches(4), lambda _: None)
    assert (found.argmax_differences, found.ties) == (1, 0)


def test_all_images_may_be_ties_or_none() -> None:
    reference = _rows(4, 0.002)
    other = _swapped(reference, 4)
    other[:, 2:] += 0.01
    found = compare_forward(Fixed(other), Fixed(reference), _batches(4), lambda _: None)
    assert (found.argmax_differences, found.ties, found.percent) == (0, 4, 100)
    reference = _rows(4, 0.05)
    other = _swapped(reference, 4)
    found = compare_forward(Fixed(other), Fixed(reference), _batches(4), lambda _: None)
    assert (found.argmax_differences, found.ties, found.percent) == (4, 0, 0)


class Maps(Session):
    """Gives two outputs that are no scores of classes, both off by a part of the largest value."""

    def __init__(self, *off: float) -> None:
        self.off = off

    def run(self, inputs: Inputs) -> Outputs:
        images = np.ones_like(inputs[IMAGE])
        return tuple(images * size * (1 + off) for size, off in zip((1, 100), self.off, strict=True))


def test_outputs_that_are_no_classes_are_compared_each_by_its_own_size() -> None:
    found = compare_forward(Maps(0.0, 0.0), Maps(-0.25, 0.0), _batches(4), lambda _: None)
    assert (found.classes, found.top1, found.argmax_differences, found.ties) == (False, None, 0, 0)
    assert found.max_difference == found.mean_difference == pytest.approx(0.25 / 0.75)


def test_values_that_are_far_too_large_do_not_hide_how_far_they_are_off() -> None:
    reference = _rows(8, 1.0)
    other = reference.copy()
    other[:, 5] = 1000.0
    for one, two in ((other, reference), (reference, other)):
        found = compare_forward(Fixed(one), Fixed(two), _batches(8), lambda _: None)
        assert found.mean_difference == pytest.approx(100.0 / 10)
