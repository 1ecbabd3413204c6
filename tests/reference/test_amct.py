"""amctq against AMCT's formulas, written a second time: scales within 1e-6, integers equal."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from amctq.choices import ArqRule, IfmrVariant
from amctq.graph.topology import read_topology
from amctq.quant import numerics
from amctq.quant.folding import fold
from amctq.quant.observers import HfmgObserver, HfmgSettings, IfmrObserver, IfmrSettings
from amctq.quant.ulq import Clips, arq_retrain, ulq, ulq_gradients
from amctq.quant.weights import arq_scale, quantize_weight
from tests.quant import reference_ifmr
from tests.quant.graphs import residual_graph
from tests.reference import amct

CLOSE = 1e-6


def _away_from_ties(quotients: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Where float32 and float64 round to the same integer."""
    away: NDArray[np.bool_] = np.abs(np.abs(quotients - np.floor(quotients)) - 0.5) > 1e-3
    return away


def _values(name: str, size: int = 20_000) -> NDArray[np.float32]:
    random = np.random.default_rng(len(name))
    normal = random.normal(size=size)
    values = {
        "relu": np.maximum(normal, 0),
        "normal": normal,
        "exponential": random.exponential(size=size),
        "negative": -random.exponential(size=size),
        "heavy-tail": random.standard_t(3, size=size),
    }[name]
    return values.astype(np.float32)


@pytest.mark.parametrize("symmetric", [False, True], ids=["asymmetric", "symmetric"])
@pytest.mark.parametrize("percentile", [0.999999, 0.9999])
@pytest.mark.parametrize("name", ["relu", "normal", "exponential", "negative", "heavy-tail"])
def test_ifmr(name: str, percentile: float, symmetric: bool) -> None:
    values = _values(name)
    observer = IfmrObserver(IfmrSettings(max_percentile=percentile, min_percentile=percentile, symmetric=symmetric))
    for batch in np.array_split(values, 3):
        observer.update(batch)
    found = observer.qparams()
    exact = values.astype(np.float64)
    scales, losses = reference_ifmr.exact_losses(exact, percentile=percentile, symmetric=symmetric)
    scale = float(scales[np.argmin(losses)])
    assert found.scale == pytest.approx(scale, rel=CLOSE)
    low, _ = reference_ifmr.starting_range(exact, percentile)
    assert found.offset == (0 if symmetric else int(np.clip(-round(low / scale) - 128, -128, 127)))


@pytest.mark.parametrize("name", ["relu", "exponential", "normal"])
def test_ifmr_of_the_ascend_operator(name: str) -> None:
    values = _values(name)
    observer = IfmrObserver(IfmrSettings(variant=IfmrVariant.ASCEND))
    observer.update(values)
    scale, offset = reference_ifmr.ascend(values.astype(np.float64))
    assert observer.qparams().scale == pytest.approx(scale, rel=CLOSE)
    assert observer.qparams().offset == offset


@pytest.mark.parametrize(("bins", "spread"), [(1024, 0.4), (1024, 2.5), (4096, 1.0)])
def test_hfmg(bins: int, spread: float) -> None:
    """On values in the middle of bins that both histograms have: theirs end at the extremes, amctq's at powers of 2."""
    width = 16.0 / bins
    random = np.random.default_rng(bins)
    drawn = np.concatenate([random.laplace(0, spread, 30_000), random.normal(4, spread, 10_000)])
    values = (np.floor(drawn[(drawn > -4) & (drawn < 12)] / width) + 0.5) * width
    values = np.append(values, [-4.0, np.nextafter(np.float32(12), np.float32(0))]).astype(np.float32)
    observer = HfmgObserver(HfmgSettings(num_of_bins=bins))
    observer.update(values)
    low, high = amct.hfmg(values.astype(np.float64), bins)
    assert low < 0 < high
    assert high - low < 16  # something was cut off
    scale, offset = amct.asymmetric(low, high)
    assert observer.qparams().scale == pytest.approx(scale, rel=CLOSE)
    assert observer.qparams().offset == offset


@pytest.mark.parametrize("ascend", [False, True], ids=["amct", "ascend"])
@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize("channel_wise", [True, False])
def test_arq(channel_wise: bool, bits: int, ascend: bool) -> None:
    random = np.random.default_rng(bits)
    weight = random.normal(0, 0.1, (7, 4, 3, 3)).astype(np.float32)
    weight[1] = 0
    weight[2] = -np.abs(weight[2])
    weight[3, 0, 0, 0], weight[3, 1, 0, 0] = -1.0, 0.998  # where the rules differ
    scales, integers = amct.arq(weight.astype(np.float64), channel_wise=channel_wise, bits=bits, ascend=ascend)
    found = arq_scale(weight, channel_wise=channel_wise, bits=bits, rule=ArqRule.ASCEND if ascend else ArqRule.AMCT)
    assert found == pytest.approx(scales, rel=CLOSE)
    away = _away_from_ties(weight.astype(np.float64) / np.reshape(scales, (-1, 1, 1, 1)))
    assert away.mean() > 0.9
    assert np.array_equal(quantize_weight(weight, found, bits=bits).values[away], integers[away])
    if ascend:
        fake = arq_retrain(weight, channel_wise=channel_wise, bits=bits)
        expected = integers * np.reshape(scales, (-1, 1, 1, 1))
        assert fake[away] == pytest.approx(expected[away], rel=CLOSE)


@pytest.mark.parametrize(("low", "high"), [(-1.0, 2.0), (-0.017, 3.3), (-5.0, 0.4), (0.0, 1.7)])
def test_ulq(low: float, high: float) -> None:
    random = np.random.default_rng(3)
    x, gradient = (random.normal(0, 1.5, 5_000).astype(np.float32) for _ in range(2))
    low, high = float(np.float32(low)), float(np.float32(high))
    away = _away_from_ties(x * 255.0 / (high - low))
    x, gradient = x[away], gradient[away]
    clips = Clips(high=high, low=low, fixed_min=False)
    wide, wide_gradient = x.astype(np.float64), gradient.astype(np.float64)
    assert ulq(x, clips) == pytest.approx(amct.ulq(wide, low, high), rel=CLOSE, abs=CLOSE * (high - low))
    found = ulq_gradients(x, clips, gradient)
    of_x, of_max, of_min = amct.ulq_gradients(wide, low, high, wide_gradient)
    assert np.array_equal(found.x, of_x)
    magnitude = float(np.abs(wide_gradient).sum())
    assert found.clip_max == pytest.approx(of_max, abs=CLOSE * magnitude)
    assert found.clip_min == pytest.approx(of_min, abs=CLOSE * magnitude)
    assert abs(of_max) > 100 * CLOSE * magnitude


def test_folding_and_the_bias() -> None:
    graph = residual_graph(4)
    for layer in read_topology(graph).layers:
        norm = layer.batch_norm
        weight = graph.arrays[layer.weight].astype(np.float64)
        bias = None if layer.bias is None else graph.arrays[layer.bias].astype(np.float64)
        if norm is not None:
            names = (norm.gamma, norm.beta, norm.mean, norm.variance)
            numbers = [graph.arrays[name].astype(np.float64) for name in names]
            weight, bias = amct.fold(weight, bias, *numbers, norm.epsilon)
        assert bias is not None
        folded = fold(layer, graph.arrays)
        assert folded.weight == pytest.approx(weight, rel=CLOSE, abs=1e-9)
        assert folded.bias == pytest.approx(bias, rel=CLOSE, abs=1e-7)
        scale_w, scale_d = arq_scale(folded.weight, channel_wise=weight.ndim == 4), np.float32(0.0123)
        assert folded.bias is not None
        found = numerics.quantize_bias(folded.bias, np.broadcast_to(scale_d * scale_w, folded.bias.shape))
        expected = amct.quantize_bias(folded.bias.astype(np.float64), float(scale_d), scale_w.tolist())
        quotients = folded.bias.astype(np.float64) / (np.float64(scale_d) * np.broadcast_to(scale_w, found.shape))
        away = _away_from_ties(quotients)
        assert away.any()
        assert np.array_equal(found[away], np.asarray(expected)[away])


@pytest.mark.parametrize(("low", "high"), [(0.0, 6.0), (-2.5, 1.0), (-3.0, 0.0), (1.0, 4.0), (0.0, 0.0)])
def test_the_rule_of_a_range(low: float, high: float) -> None:
    scale, offset = amct.asymmetric(low, high)
    found = numerics.range_qparams(low, high)
    assert found.scale == pytest.approx(scale, rel=CLOSE)
    assert found.offset == offset
