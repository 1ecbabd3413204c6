"""Running a network over all samples: what has no score is refused, not counted as a miss."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from amctq.data.arrays import ArraySamples
from amctq.data.inputs import IMAGE, Inputs
from amctq.data.samples import Batches
from amctq.errors import InputError
from amctq.inference.metrics.mean_score import MeanAbsoluteError
from amctq.inference.metrics.measure import measure
from amctq.inference.metrics.top1 import Top1
from amctq.inference.session import Outputs, Session
from amctq.quant.numerics import Float32Array


class _Scores(Session):
    """Gives the scores that a function makes of images."""

    def __init__(self, scores: Callable[[Float32Array], Float32Array]) -> None:
        self._scores = scores

    def run(self, inputs: Inputs) -> Outputs:
        return (self._scores(inputs[IMAGE]),)


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
        measure(_Scores(lambda images: images[:, :, 0, 0]), _batches(images), Top1(), lambda _: None)


def test_a_network_that_gives_nan_has_no_accuracy() -> None:
    images = np.arange(-4, 5, dtype=np.float32)[:, None, None, None] * np.ones((1, 3, 2, 2), np.float32)
    with np.errstate(invalid="ignore"), pytest.raises(InputError, match="gives NaN for 4 of the images 0 to 3"):
        measure(_Scores(lambda images: np.sqrt(images[:, :, 0, 0])), _batches(images), Top1(), lambda _: None)


def _measured(scores: list[float]) -> float:
    """Top-1 of nine images that all have these scores."""
    rows = np.tile(np.array(scores, np.float32), (9, 1))
    session = _Scores(lambda images: rows[: len(images)])
    images = np.zeros((9, 3, 2, 2), np.float32)
    return measure(session, _batches(images), Top1(), lambda _: None).score.value


@pytest.mark.parametrize("scores", [[np.inf, 0, 0], [0, np.inf, -np.inf], [-np.inf] * 3], ids=["hit", "miss", "none"])
def test_a_network_that_gives_infinity_has_no_accuracy(scores: list[float]) -> None:
    with pytest.raises(InputError, match="gives infinity for 4 of the images 0 to 3"):
        _measured(scores)


def test_the_logarithm_of_no_probability_has_its_rank() -> None:
    assert _measured([0.0, -np.inf, -np.inf]) == 100
    assert _measured([-np.inf, 0.0, -1.0]) == 0


def test_other_outputs_are_finite() -> None:
    session = _Scores(lambda images: np.full((len(images), 2, 2), -np.inf, np.float32))
    with pytest.raises(InputError, match="gives infinity for 4 of the images 0 to 3"):
        measure(session, _batches(np.zeros((9, 3, 2, 2), np.float32)), MeanAbsoluteError(), lambda _: None)
