"""What observers keep of large images: every n-th value, and of the outermost ones all."""

from __future__ import annotations

import numpy as np
import pytest

from amctq.choices import ActAlgo
from amctq.quant.numerics import Float32Array
from amctq.quant.observers import OBSERVERS, IfmrObserver
from amctq.quant.observers.error import squared_error_of_values
from amctq.quant.observers.statistics import Statistics, _step

LARGE = (6, 16, 112, 112)  # 200,704 values an image
MANY = 512  # images announced, so that not every value is counted


@pytest.fixture(scope="module")
def large() -> Float32Array:
    random = np.random.default_rng(3)
    return np.maximum(random.normal(size=LARGE) * random.uniform(0.5, 2, (1, 16, 1, 1)), 0).astype(np.float32)


@pytest.mark.parametrize("size", [1, 1 << 15, 100_352, 200_704, 802_816, 150_528, 3 * 5 * 7 * 11 * 4096])
@pytest.mark.parametrize("images", [0, 1, 32, 512, 2048])
def test_every_nth_value_falls_on_all_rows_and_channels(size: int, images: int) -> None:
    step = _step(size, images)
    assert np.gcd(step, size) == 1
    assert size * images / step >= min(size * images, 1 << 22)


def test_few_images_are_counted_whole() -> None:
    assert _step(802_816, 5) == 1
    assert _step(802_816, 512) > 10


@pytest.mark.parametrize("algo", ActAlgo)
def test_neither_batches_nor_order_matter(algo: ActAlgo, large: Float32Array) -> None:
    results = set()
    for order, cut in (([0, 1, 2, 3, 4, 5], 6), ([5, 3, 1, 0, 2, 4], 2), ([4, 0, 5, 1, 3, 2], 1)):
        observer = OBSERVERS[algo]()
        observer.expect(MANY)
        for start in range(0, 6, cut):
            observer.update(large[order][start : start + cut])
        results.add(observer.qparams())
    assert len(results) == 1


def test_the_error_is_near_the_one_over_every_value(large: Float32Array) -> None:
    observer = IfmrObserver()
    observer.expect(MANY)
    observer.update(large)
    candidates = observer.candidates()
    exact = squared_error_of_values(large.reshape(-1).astype(np.float64), candidates)
    chosen = int(np.argmin(np.abs(candidates.scale - observer.qparams().scale)))
    assert exact[chosen] <= 1.02 * exact.min()


def test_no_outlier_is_missed(large: Float32Array) -> None:
    """One value among 200,704, wherever it stands."""
    for place in (0, 1, 77_777, 200_703):
        images = large.copy()
        images.reshape(6, -1)[2, place] = 50
        statistics = Statistics()
        statistics.expected = MANY
        statistics.update(images)
        assert statistics.high == 50
        assert statistics.kth_largest(1) == 50
        density = statistics.density()
        assert density.counts[-1] == 1
        assert density.total == pytest.approx(images.size, rel=1e-3)
