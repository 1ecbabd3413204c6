"""What the weight scales of a record tell of the weight that they were made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from amctq.choices import AMCT_WEIGHT_BITS, ArqRule, WeightAlgo
from amctq.graph.topology import fuse, read_topology
from amctq.quant.config import WeightConfig
from amctq.quant.integer import make_record
from amctq.quant.layers import QuantizableLayer, Topology
from amctq.quant.numerics import QParams
from amctq.quant.record import LayerRecord, QuantRecord
from amctq.quant.record_fit import ScaleFit, scale_fit
from amctq.quant.trained import trained_layer
from tests.graph.graphs import residual_graph

Arrays = Mapping[str, NDArray[Any]]
GRAPH = residual_graph()
TOPOLOGY = read_topology(GRAPH)
CONV1, LEFT, RIGHT, END_POINT = TOPOLOGY.layers


def _record(
    weight: WeightConfig,
    *,
    plain: tuple[str, ...] = (),
    rule: ArqRule = ArqRule.AMCT,
    scale_d: float = 0.02,
    arrays: Arrays = GRAPH.arrays,
) -> QuantRecord:
    """As AMCT writes it: nothing says which BatchNorm was folded."""
    topology = TOPOLOGY.without_fusion(plain)
    fused = fuse(GRAPH.with_arrays(arrays), topology)
    scales = {
        layer.name: replace(weight, channel_wise=weight.channel_wise and not layer.kind.is_dense).scale(
            fused[layer.name].weight, rule
        )
        for layer in topology.layers
    }
    bits = dict.fromkeys(scales, weight.bits)
    record = make_record(topology, fused, scales, dict.fromkeys(scales, QParams(scale_d, -3)), bits)
    return QuantRecord(layers=tuple(replace(entry, skip_fusion=False) for entry in record.layers))


def _fits(record: QuantRecord, arrays: Arrays = GRAPH.arrays) -> dict[str, ScaleFit]:
    return {layer.name: scale_fit(layer, record[layer.name], arrays) for layer in TOPOLOGY.layers}


@pytest.mark.parametrize("plain", [(), ("conv1",), ("conv1", "left")], ids=len)
@pytest.mark.parametrize("channel_wise", [True, False], ids=["per-channel", "per-tensor"])
@pytest.mark.parametrize("bits", AMCT_WEIGHT_BITS)
@pytest.mark.parametrize(
    ("algo", "rule"),
    [
        (WeightAlgo.ARQ, ArqRule.AMCT),
        (WeightAlgo.ARQ, ArqRule.ASCEND),
        (WeightAlgo.ARQ, ArqRule.PAIRS),
        (WeightAlgo.MSE, ArqRule.AMCT),
    ],
    ids=["arq", "ascend", "pairs", "mse"],
)
def test_the_scales_show_which_batch_norm_is_folded(
    algo: WeightAlgo, rule: ArqRule, bits: int, channel_wise: bool, plain: tuple[str, ...]
) -> None:
    record = _record(WeightConfig(bits=bits, algo=algo, channel_wise=channel_wise), plain=plain, rule=rule)
    fits = _fits(record)
    assert {name: fit.fused for name, fit in fits.items()} == {
        **{"conv1": "conv1" not in plain, "left": "left" not in plain, "right": True, "end_point": True}
    }
    assert all(fit.fits for fit in fits.values())
    assert (fits["right"].plain, fits["end_point"].plain) == (None, None)


def test_a_retrained_layer_is_folded_after_its_scale_was_chosen() -> None:
    """One scale for the tensor becomes one for each channel; a channel that the fold makes 0 keeps a scale."""
    gamma = GRAPH.arrays["bn1.gamma"].copy()
    gamma[1], gamma[2] = 0, -abs(gamma[2])
    arrays = {**GRAPH.arrays, "bn1.gamma": gamma}
    for channel_wise in (True, False):
        scale = trained_layer(CONV1, WeightConfig(channel_wise=channel_wise), arrays).scale
        assert len(scale) == 4
        fit = scale_fit(CONV1, _entry(CONV1, scale), arrays)
        assert fit.allows(fused=True)
        assert not fit.allows(fused=False)


def _entry(layer: QuantizableLayer, scale: NDArray[Any]) -> LayerRecord:
    return LayerRecord(name=layer.name, activation=QParams(0.02, 0), weight_scale=scale.astype(np.float32))


@pytest.mark.parametrize("off", [5e-4, -5e-4])
def test_a_factor_of_nearly_1_is_told_from_1(off: float) -> None:
    variance = GRAPH.arrays["bn1.moving_variance"]
    gamma = (np.sqrt(variance + 0.001) * (1 + off)).astype(np.float32)
    arrays = {**GRAPH.arrays, "bn1.gamma": gamma}
    for plain in ((), ("conv1",)):
        fit = _fits(_record(WeightConfig(), plain=plain, arrays=arrays), arrays)["conv1"]
        assert fit.allows(fused=True)
        assert fit.allows(fused=False)
        assert fit.fused is not ("conv1" in plain)


def test_a_batch_norm_that_changes_no_weight_is_folded() -> None:
    variance = GRAPH.arrays["bn1.moving_variance"]
    arrays = {**GRAPH.arrays, "bn1.gamma": np.sqrt(variance + np.float32(0.001))}
    for plain in ((), ("conv1",)):
        assert _fits(_record(WeightConfig(), plain=plain, arrays=arrays), arrays)["conv1"].fused


def test_scales_that_are_no_quotient_fit_too() -> None:
    """Of a channel of zeros, of weights below EPSILON, and one that was raised for its bias."""
    weight = GRAPH.arrays["conv1.weight"].copy()
    weight[0], weight[1] = 0, weight[1] * 1e-7
    beta = GRAPH.arrays["bn1.beta"].copy()
    weight[2], beta[2] = weight[2] * 1e-4, 3e6
    arrays = {**GRAPH.arrays, "conv1.weight": weight, "bn1.beta": beta}
    record = _record(WeightConfig(), arrays=arrays, scale_d=1.0)
    scales = record["conv1"].weight_scale
    assert scales[:2].tolist() == [1.0, 1.0]
    assert scales[2] > 1.1 * np.abs(fuse(GRAPH.with_arrays(arrays), TOPOLOGY)["conv1"].weight[2]).max() / 127
    fit = _fits(record, arrays)["conv1"]
    assert (fit.fits, fit.fused) == (True, True)


@pytest.mark.parametrize("factor", [0.5, 0.97, 1.03, 1.5, 3.0])
def test_scales_of_another_weight_fit_neither(factor: float) -> None:
    for layer in TOPOLOGY.layers:
        entry = _record(WeightConfig())[layer.name]
        fit = scale_fit(layer, replace(entry, weight_scale=entry.weight_scale * np.float32(factor)), GRAPH.arrays)
        assert fit.fits is False
        assert "expected 127 to 128" in fit.found
        assert ("with BatchNorm folded in" in fit.found) == (layer.batch_norm is not None)


def test_one_channel_of_another_weight_is_enough() -> None:
    entry = _record(WeightConfig())["conv1"]
    scale = entry.weight_scale.copy()
    scale[3] *= np.float32(1.1)
    assert scale_fit(CONV1, replace(entry, weight_scale=scale), GRAPH.arrays).fits is False


def test_the_weights_of_another_network_do_not_fit() -> None:
    record = _record(WeightConfig())
    other = residual_graph(seed=1).arrays
    assert {fit.fits for fit in _fits(record, other).values()} == {False}


def test_the_topology_is_the_one_these_tests_mean() -> None:
    assert isinstance(TOPOLOGY, Topology)
    assert [layer.name for layer in (CONV1, LEFT, RIGHT, END_POINT)] == ["conv1", "left", "right", "end_point"]
    assert [layer.batch_norm is not None for layer in TOPOLOGY.layers] == [True, True, False, False]
