"""Weights whose sums of two products are exact: the rule of their scale, and the instruction itself."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from amctq.choices import ArqRule
from amctq.quant.numerics import Float32Array
from amctq.quant.pair_sums import LIMIT, are_exact, largest_pair
from amctq.quant.weights import arq_scale, quantize_weight
from amctq.runtime import cpu_instructions, saturates
from tests.export.vpmaddubsw import exact, saturating

SHAPES = [(8, 16, 3, 3), (8, 3, 3, 3), (5, 7, 5, 5), (6, 1, 3, 3), (6, 2, 3, 3, 3), (16, 96), (7, 5), (4, 1), (3, 2, 4)]


def _weight(shape: tuple[int, ...], seed: int = 0, power: int = 1) -> Float32Array:
    return (np.random.default_rng(seed).normal(size=shape) ** power).astype(np.float32)


@pytest.mark.parametrize("channel_wise", [True, False])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_the_rule_makes_every_pair_exact_and_costs_no_more_than_it_must(
    shape: tuple[int, ...], channel_wise: bool
) -> None:
    for seed, power in ((seed, power) for seed in range(50) for power in (1, 3)):
        weight = _weight(shape, seed, power)
        plain = arq_scale(weight, channel_wise=channel_wise)
        scale = arq_scale(weight, channel_wise=channel_wise, rule=ArqRule.PAIRS)
        values = quantize_weight(weight, scale).values
        assert are_exact(values)
        assert (scale >= plain).all()
        pairs = largest_pair(quantize_weight(weight, plain).values)
        pairs = pairs if channel_wise else pairs.max(keepdims=True)
        assert np.array_equal(scale[pairs < LIMIT - 1], plain[pairs < LIMIT - 1])
        # A channel that was raised uses all of the room.
        raised = largest_pair(values)[scale > plain * 1.02] if channel_wise else largest_pair(values)[:0]
        assert (raised >= LIMIT - 1).all()


def test_fewer_bits_need_no_rule() -> None:
    for weight, bits in ((_weight((8, 16, 3, 3)), 7), (_weight((8, 16)), 4)):
        plain, pairs = (
            arq_scale(weight, channel_wise=True, bits=bits, rule=rule) for rule in (ArqRule.AMCT, ArqRule.PAIRS)
        )
        assert np.array_equal(plain, pairs)


def test_a_channel_of_zeros_has_scale_one() -> None:
    weight = _weight((3, 4, 1, 1))
    weight[1] = 0
    assert arq_scale(weight, channel_wise=True, rule=ArqRule.PAIRS)[1] == 1


def test_what_is_exact_is_exact_for_the_worst_activations() -> None:
    """Against a model of VPMADDUBSW; one more in any pair is cut off."""
    columns = np.asarray([[255, 255], [255, 0], [0, 255], [128, 255]], np.uint8)
    for first in range(-128, 128):
        for second in range(-128, 128):
            pair = np.asarray([[first, second]], np.int8)
            assert are_exact(pair) == np.array_equal(saturating(columns, pair), exact(columns, pair))


@pytest.mark.parametrize(("channels", "kernel"), [(4, 3), (16, 1), (6, 3), (3, 3), (5, 3), (34, 2), (64, 3)])
def test_a_plain_session_computes_them_exactly(channels: int, kernel: int) -> None:
    """All activations are 255, and most pairs add up to 128; on a CPU with VNNI this cannot fail."""
    size = channels * kernel * kernel
    largest, middle = np.where(np.arange(size) % 2, 1, 127), np.full(size, 64)
    by_rule = _weight((13, size), 1)
    values = quantize_weight(by_rule, arq_scale(by_rule, channel_wise=True, rule=ArqRule.PAIRS)).values
    rows = np.concatenate([[largest, -largest, middle, -middle], values]).astype(np.int8)
    weight = np.ascontiguousarray(np.moveaxis(rows.reshape(-1, kernel, kernel, channels), 3, 1))
    assert are_exact(weight)
    plain, precise = (_output(weight, precise=precise) for precise in (False, True))
    assert np.array_equal(plain, precise)
    # 255 is what the largest sum becomes, so that one that was cut off would be seen.
    assert plain.max() == 255


def test_a_plain_session_cuts_others_off_where_amctq_says_so() -> None:
    weight = np.full((16, 16, 3, 3), 127, np.int8)
    assert not are_exact(weight)
    same = np.array_equal(_output(weight, precise=False), _output(weight, precise=True))
    assert same != saturates(cpu_instructions())


def _output(weight: NDArray[np.int8], *, precise: bool) -> NDArray[np.uint8]:
    """A convolution of activations that are all 255, by onnxruntime's integer kernel."""
    largest = 255 * np.abs(weight.astype(int).sum(axis=(1, 2, 3))).max()
    arrays = {
        "one": np.float32(1),
        "zero": np.uint8(0),
        "w": weight,
        "ones": np.ones(len(weight), np.float32),
        "zeros": np.zeros(len(weight), np.int8),
        "scale": np.float32(largest / 127.5),
        "middle": np.uint8(128),
    }
    nodes = [
        helper.make_node("DequantizeLinear", ["x", "one", "zero"], ["a"]),
        helper.make_node("DequantizeLinear", ["w", "ones", "zeros"], ["b"], axis=0),
        helper.make_node("Conv", ["a", "b"], ["c"]),
        helper.make_node("QuantizeLinear", ["c", "scale", "middle"], ["y"]),
    ]
    size = weight.shape[2] + 2
    graph = helper.make_graph(
        nodes,
        "convolution",
        [helper.make_tensor_value_info("x", TensorProto.UINT8, [1, weight.shape[1], size, size])],
        [helper.make_tensor_value_info("y", TensorProto.UINT8, None)],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in arrays.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    options = onnxruntime.SessionOptions()
    if precise:
        options.add_session_config_entry("session.x64quantprecision", "1")
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    found: NDArray[np.uint8] = session.run(None, {"x": np.full((1, weight.shape[1], size, size), 255, np.uint8)})[0]
    return found
