"""The entropy observer, against the divergence computed bin by bin, and against what a range costs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median

import numpy as np
import pytest
from numpy.typing import NDArray

from amctq.quant.numerics import QParams
from amctq.quant.observers import EntropyObserver, MseObserver
from tests.quant.distributions import DISTRIBUTIONS
from tests.quant.reference_squares import Squares, quantizer

NAMES = [name for name in DISTRIBUTIONS if name != "levels"]  # no density at all


def _observe(values: NDArray[np.float32], *, symmetric: bool = False) -> QParams:
    observer = EntropyObserver(symmetric=symmetric)
    for batch in np.array_split(values.ravel(), 7):
        observer.update(batch)
    return observer.qparams()


def _bins(values: Sequence[float], bins: int = 2048) -> tuple[list[float], list[int]]:
    """Edges and counts of a histogram over the finest power-of-two width that needs no more than ``bins`` bins."""
    lowest, highest = min(values), max(values)
    width = 2.0**-20
    while math.floor(max(0.0, highest) / width) - math.floor(min(0.0, lowest) / width) + 1 > bins:
        width *= 2
    first, last = math.floor(lowest / width), math.floor(highest / width)
    counts = [0] * (last - first + 1)
    for value in values:
        counts[math.floor(value / width) - first] += 1
    edges = [min(max((first + i) * width, lowest), highest) for i in range(len(counts) + 1)]
    together = math.ceil(len(counts) * 256 / len(values))
    merged = [sum(counts[i : i + together]) for i in range(0, len(counts), together)]
    return [*edges[:-1:together], edges[-1]], merged


def _divergence(edges: list[float], counts: list[int], low: float, high: float, scale: float) -> float:
    """Kullback-Leibler divergence as the module says it, bin by bin, less what chance adds."""
    levels: dict[int, list[float]] = {}
    order: list[tuple[int, float]] = []
    below = above = 0
    for i, count in enumerate(counts):
        centre = (edges[i] + edges[i + 1]) / 2
        if centre < low:
            below += count
        elif centre > high:
            above += count
        else:
            around = [counts[min(max(j, 0), len(counts) - 1)] for j in range(i - 4, i + 5)]
            kept = min(count, 4 * median(around) + 256)
            if kept:
                level = round(centre / scale)
                levels.setdefault(level, []).append(kept)
                order.append((level, kept))
    p = [kept for _, kept in order]
    p[0] += below
    p[-1] += above
    q = [sum(levels[level]) / len(levels[level]) for level, _ in order]
    total, model = sum(p), sum(q)
    loss = sum(a / total * math.log((a / total) / (b / model)) for a, b in zip(p, q, strict=True))
    return loss - (len(order) - len(levels)) / (2 * total)


@pytest.mark.parametrize("symmetric", [False, True], ids=["asymmetric", "symmetric"])
@pytest.mark.parametrize("name", ["relu", "normal", "exponential", "sparse"])
def test_no_threshold_has_a_smaller_divergence(name: str, symmetric: bool) -> None:
    values = DISTRIBUTIONS[name].ravel()[:60_000]
    qparams = _observe(values, symmetric=symmetric)
    present = [float(value) for value in values if value]
    edges, counts = _bins(present)
    lowest, highest = min(0.0, *present), max(0.0, *present)
    scales, losses = [], []
    for step in range(128):  # from the whole range to one bin for each of 256 levels
        threshold = max(-lowest, highest) * (1 + (min(1.0, 256 / len(counts)) - 1) * step / 127)
        low, high = max(lowest, -threshold), min(highest, threshold)
        scales.append(quantizer(low, high, symmetric=symmetric)[0])
        losses.append(_divergence(edges, counts, low, high, scales[-1]))
    averages = [sum(losses[min(max(j, 0), 127)] for j in range(i - 2, i + 3)) / 5 for i in range(128)]
    chosen = min(range(128), key=lambda index: abs(scales[index] - qparams.scale))
    assert scales[chosen] == pytest.approx(qparams.scale, rel=1e-5)
    assert averages[chosen] <= min(averages) + 1e-12


@pytest.mark.parametrize("images", [1, 5, 20])
@pytest.mark.parametrize("name", NAMES)
def test_no_range_is_absurd(name: str, images: int) -> None:
    """The error stays within a small multiple of the least, however few values were seen."""
    values = DISTRIBUTIONS[name][:images]
    squares = Squares(values.ravel().astype(float))
    best = MseObserver()
    best.update(values)
    errors = [squares.of_quantizer(found.scale, found.offset) for found in (_observe(values), best.qparams())]
    assert errors[0] <= (4.0 if name == "heavy-tail" else 1.6) * errors[1]


@pytest.mark.parametrize("share", [0.3, 0.02])
def test_a_value_that_many_share_does_not_narrow_the_range(share: float) -> None:
    values = np.random.default_rng(6).exponential(size=400_000).astype(np.float32)
    with_constant = values.copy()
    with_constant[: int(share * values.size)] = 1.7
    assert _observe(with_constant).scale == pytest.approx(_observe(values).scale, rel=0.2)


def test_outliers_are_clipped() -> None:
    values = np.random.default_rng(7).normal(size=1_000_000).astype(np.float32)
    values[:3] = 25.0
    assert _observe(values).scale * 255 < 20.0
