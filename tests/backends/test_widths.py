"""Every weight at several widths from one calibration: what a run of each width alone gives."""

from __future__ import annotations

import numpy as np
import pytest

from amctq.backends.native import NativeBackend
from amctq.backends.native_network import NativeQuantizedNetwork
from amctq.backends.ptq_config import PtqConfig
from amctq.choices import ActType, ArqRule, IfmrVariant, Placement, WeightAlgo
from amctq.data.arrays import ArraySamples
from amctq.data.samples import Batches
from amctq.networks.float_network import FloatNetwork
from amctq.progress import Reporter
from amctq.quant.default_config import default_config
from tests.backends.test_simulation import network_of


@pytest.fixture(scope="module", params=["Transformer", "Convolutions"])
def network(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> FloatNetwork:
    return network_of(request.param, tmp_path_factory.mktemp("scratch"))


def _quantized(
    network: FloatNetwork, algo: WeightAlgo, bits: int, others: tuple[int, ...] = ()
) -> NativeQuantizedNetwork:
    samples = ArraySamples(
        pixels=np.random.default_rng(4).normal(size=(16, 3, 32, 32)).astype(np.float32),
        labels=np.zeros(16, np.int64),
        preprocessing=None,
        sources=("random",),
        indices=np.arange(16),
    )
    quant = default_config(network.topology, weight_bits=bits, weight_algo=algo, dense_per_channel=True)
    return NativeBackend().quantize(
        network=network,
        config=PtqConfig(
            quant=quant,
            placement=Placement.ORT,
            act_type=ActType.UINT8,
            ifmr_variant=IfmrVariant.EXACT,
            arq_rule=ArqRule.AMCT,
            bias_correction=True,
            others=tuple(quant.with_widths(dict.fromkeys(quant.enabled, other)) for other in others),
        ),
        calibration=Batches(samples=samples, size=8),
        reporter=Reporter(),
    )


@pytest.mark.parametrize("algo", [WeightAlgo.GPTQ, WeightAlgo.SQUANT])
def test_each_width_is_what_a_run_of_that_width_gives(network: FloatNetwork, algo: WeightAlgo) -> None:
    all_widths = _quantized(network, algo, 8, (4, 2))
    assert _quantized(network, algo, 8).choices == ()
    assert [each.layers[0].weight.bits for each in all_widths.choices] == [8, 4, 2]
    for each in all_widths.choices:
        # While SQuant's network is calibrated, its weights are rounded, and to the configured width.
        if algo is WeightAlgo.GPTQ:
            alone = _quantized(network, algo, each.layers[0].weight.bits)
            for one, other in zip(each.layers, alone.layers, strict=True):
                assert np.array_equal(one.weight.values, other.weight.values)
                assert np.array_equal(one.weight.scale, other.weight.scale)
                biases = [item.bias for item in (one, other) if item.bias is not None]
                assert len(biases) in {0, 2}
                assert all(np.array_equal(bias, biases[0]) for bias in biases)
        assert set(each.errors) == {item.layer.name for item in each.layers}
    for name, error in all_widths.choices[0].errors.items():
        at_4, at_2 = (each.errors[name] for each in all_widths.choices[1:])
        assert 0 < error < at_4 / 20
        assert at_4 < at_2 / 4
