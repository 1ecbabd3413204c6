"""LabelRanks, and what is measured from them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from amctq.data.arrays import ArraySamples
from amctq.data.samples import Batches
from amctq.errors import InputError
from amctq.inference.accuracy import LabelRanks, classify, rank_labels
from amctq.inference.session import Session
from amctq.quant.numerics import Float32Array


def test_rank_is_the_number_of_better_classes() -> None:
    logits = np.asarray([[3, 2, 1], [1, 2, 3], [1, 3, 2]], np.float32)
    assert rank_labels(logits, np.asarray([0, 0, 2])).tolist() == [0, 2, 1]


def test_ties_go_to_the_lower_index_as_argmax_does() -> None:
    logits = np.zeros((3, 4), np.float32)
    assert rank_labels(logits, np.asarray([0, 1, 3])).tolist() == [0, 1, 3]


def test_top1_is_argmax_on_random_logits() -> None:
    random = np.random.default_rng(0)
    logits = np.round(random.normal(size=(500, 10)), 1).astype(np.float32)
    labels = random.integers(0, 10, 500)
    ranks = LabelRanks(rank_labels(logits, labels), 10)
    assert ranks.top1 == pytest.approx(100 * (logits.argmax(1) == labels).mean())
    assert ranks.top5 >= ranks.top1


def test_nan_is_never_a_hit() -> None:
    logits = np.full((2, 3), np.nan, np.float32)
    assert LabelRanks(rank_labels(logits, np.asarray([0, 1])), 3).top1 == 0.0


def test_top5_of_fewer_classes_is_everything() -> None:
    logits = np.asarray([[1, 2, 3]], np.float32)
    assert LabelRanks(rank_labels(logits, np.asarray([0])), 3).top5 == 100.0


class _Scores(Session):
    """Gives the scores that a function makes of images."""

    def __init__(self, scores: Callable[[Float32Array], Float32Array]) -> None:
        self._scores = scores

    def logits(self, images: Float32Array) -> Float32Array:
        return self._scores(images)


def _batches(images: Float32Array) -> Batches:
    samples = ArraySamples(
        pixels=images,
        labels=np.zeros(len(images), np.int64),
        preprocessing=None,
        sources=("x",),
        indices=np.arange(len(images)),
    )
    return Batches(samples=samples, size=4)


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_an_image_that_is_no_number_is_no_miss(wrong: float) -> None:
    images = np.zeros((9, 3, 2, 2), np.float32)
    images[6, 0, 0, 0] = wrong
    with pytest.raises(InputError, match="image 6 holds NaN or infinity"):
        classify(_Scores(lambda images: images[:, :, 0, 0]), _batches(images), lambda _: None)


def test_a_network_that_gives_nan_has_no_accuracy() -> None:
    images = np.arange(-4, 5, dtype=np.float32)[:, None, None, None] * np.ones((1, 3, 2, 2), np.float32)
    with np.errstate(invalid="ignore"), pytest.raises(InputError, match="gives NaN for 4 of the images 0 to 3"):
        classify(_Scores(lambda images: np.sqrt(images[:, :, 0, 0])), _batches(images), lambda _: None)
