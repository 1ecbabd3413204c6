"""Retraining that starts from weights that GPTQ has rounded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from amctq.backends.base import RetrainingNetwork
from amctq.backends.native import NativeBackend
from amctq.backends.native_network import NativeQuantizedNetwork
from amctq.backends.ptq_config import PtqConfig
from amctq.choices import ActType, ArqRule, IfmrVariant, Placement, WeightAlgo
from amctq.data.inputs import IMAGE
from amctq.networks.float_network import FloatNetwork
from amctq.progress import Reporter
from amctq.quant.default_config import default_config
from amctq.quant.retrain_config import RetrainConfig, default_retrain_config
from amctq.runtime import graph_mode
from tests.backends.test_contract import batches
from tests.backends.test_retraining import train
from tests.backends.test_simulation import network_of


def _started(network: FloatNetwork, bits: int) -> tuple[RetrainConfig, NativeQuantizedNetwork, RetrainingNetwork]:
    """The network that GPTQ rounds, and the training that starts from it."""
    config = default_retrain_config(network.topology, weight_bits=bits).starting_rounded()
    start = NativeBackend().quantize(
        network=network,
        config=PtqConfig(
            quant=default_config(network.topology, weight_bits=bits, weight_algo=WeightAlgo.GPTQ),
            placement=Placement.ASCEND,
            act_type=ActType.UINT8,
            ifmr_variant=IfmrVariant.EXACT,
            arq_rule=ArqRule.AMCT,
            bias_correction=True,
        ),
        calibration=batches(),
        reporter=Reporter(),
    )
    retraining = NativeBackend().retrain(network=network, config=config, initial=start.record)
    retraining.begin_at(start)
    return config, start, retraining


def _finished(retraining: RetrainingNetwork) -> NativeQuantizedNetwork:
    quantized = retraining.finish()
    assert isinstance(quantized, NativeQuantizedNetwork)
    return quantized


def _values(retraining: RetrainingNetwork, ending: str) -> dict[str, Any]:
    return {name: item.asnumpy().copy() for name, item in retraining.state().items() if name.endswith(ending)}


@pytest.mark.parametrize("bits", [4, 3])
def test_without_a_step_the_network_is_the_rounded_one(tmp_path: Path, bits: int) -> None:
    """Also where γ is negative, or 0; where there is no BatchNorm; and with a bias that was corrected."""
    network = network_of("Small", tmp_path)
    gamma: Any = network.graph.arrays["bn1.gamma"]
    assert (gamma < 0).any()
    assert (gamma == 0).any()
    _, start, retraining = _started(network, bits)
    ends = _finished(retraining)
    for before, after in zip(start.layers, ends.layers, strict=True):
        alive = gamma != 0 if before.layer.name == "conv1" else slice(None)
        assert np.array_equal(after.weight.values[alive], before.weight.values[alive]), before.layer.name
        scale = slice(None) if len(before.weight.scale) == 1 else alive
        assert after.weight.scale[scale] == pytest.approx(before.weight.scale[scale], rel=1e-5)
        if before.bias is not None:
            assert after.bias is not None
            found, expected = (item.bias * item.bias_scale for item in (after, before) if item.bias is not None)
            assert found[alive] == pytest.approx(expected[alive], rel=1e-4, abs=2 * float(before.bias_scale.max()))


def test_weights_stay_near_their_own_values(tmp_path: Path) -> None:
    """Where GPTQ rounds to the nearest, the weight is its own; nowhere is it farther than it must be."""
    network = network_of("Small", tmp_path)
    own: Any = network.graph.arrays["conv2.weight"].copy()
    _, start, retraining = _started(network, 4)
    begins = _values(retraining, "conv2.weight")["conv2.weight"]
    entry = next(item for item in start.layers if item.layer.name == "conv2")
    steps = own / entry.weight.scale.reshape(-1, 1, 1, 1)
    near = np.abs(steps - entry.weight.values) <= 0.45
    assert 0.5 < near.mean() < 1
    assert begins[near] == pytest.approx(own[near], rel=1e-5)
    assert np.abs(begins / entry.weight.scale.reshape(-1, 1, 1, 1) - entry.weight.values).max() < 0.4501


def test_scales_are_kept_and_weights_move(tmp_path: Path) -> None:
    network = network_of("Small", tmp_path)
    _, _, retraining = _started(network, 4)
    scales, weights = _values(retraining, ".weight_scale"), _values(retraining, ".weight")
    assert sorted(scales) == [f"{name}.weight_scale" for name in ("conv1", "conv2", "depthwise", "end_point")]
    images, labels = next(iter(batches()))
    with graph_mode():
        losses = train(retraining.cell, images[IMAGE], labels, steps=6)
        assert losses[-1] < losses[0]
        retraining.cell.set_train(False)
    assert all(np.array_equal(value, scales[name]) for name, value in _values(retraining, ".weight_scale").items())
    assert all(not np.array_equal(value, weights[name]) for name, value in _values(retraining, ".weight").items())
    record = _finished(retraining).record
    assert record["conv2"].weight_scale == pytest.approx(scales["conv2.weight_scale"])


def test_weights_of_8_bits_follow_arq_as_ever(tmp_path: Path) -> None:
    network = network_of("Small", tmp_path)
    config = default_retrain_config(network.topology)
    assert config.starting_rounded() == config
    assert not config.rounded_by_inputs
