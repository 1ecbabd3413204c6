"""CPUs without VNNI: 8-bit products of uint8 and int8 saturate there; 7-bit weights and uint8 weights do not.

The CPUs that run this have VNNI, so the proof is a model of the other instructions (tests/export/vpmaddubsw.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from amctq.amct_files.record_text import load_record
from amctq.choices import Device
from amctq.data.preprocess import IMAGENET_MEAN, IMAGENET_STD
from amctq.export.qdq_onnx import build_qdq
from amctq.graph.float_graph import FloatGraph
from amctq.graph.placement import placed_ascend
from amctq.graph.topology import fuse, read_topology
from amctq.inference.onnx_session import OnnxSession
from amctq.networks.checkpoint import read_checkpoint
from amctq.networks.float_onnx import export_float
from amctq.networks.registry import find_model
from amctq.quant.integer import IntegerLayer, integer_layers, make_record
from amctq.quant.layers import LayerKind
from amctq.quant.numerics import Float32Array, signed_range
from amctq.quant.weights import arq_scale
from amctq.runtime import load_mindspore, resolve_device
from tests.arrays import image_spec, logits_of
from tests.command import RECORD_BYTES, Own, Shared
from tests.export.vpmaddubsw import INT16, exact, forward, in_pairs, operands, saturating


@dataclass(frozen=True)
class Calibrated:
    """resnet20 with its trained weights, on the activation scales of a record."""

    graph: FloatGraph
    record: Path

    def layers(self, bits: int) -> tuple[IntegerLayer, ...]:
        """Its layers with ARQ weights of ``bits``."""
        topology, record = read_topology(self.graph), load_record(self.record)
        fused = fuse(self.graph, topology)
        scales = {
            layer.name: arq_scale(fused[layer.name].weight, channel_wise=layer.kind is LayerKind.CONV, bits=bits)
            for layer in topology.layers
        }
        activations = {entry.name: entry.activation for entry in record.layers}
        widths = dict.fromkeys(scales, bits)
        return integer_layers(topology, fused, make_record(topology, fused, scales, activations, widths))


@pytest.fixture(scope="module")
def resnet20(shared: Shared, own: Own, tmp_path_factory: pytest.TempPathFactory) -> Calibrated:
    scratch = tmp_path_factory.mktemp("resnet20")
    load_mindspore(resolve_device(Device.CPU, None), scratch)
    cell = find_model("resnet20").build(10)
    read_checkpoint(shared.checkpoint("resnet20"), scratch).load_into(cell, model="resnet20", num_classes=10)
    cell.set_train(False)
    return Calibrated(export_float(cell, image_spec(3, 32, 32), scratch / "float.mindir"), own.record)


def _test_images(shared: Shared, count: int) -> tuple[Float32Array, NDArray[Any]]:
    records = np.fromfile(shared.records / "test_batch.bin", np.uint8).reshape(-1, RECORD_BYTES)[:count]
    pixels = records[:, 1:].reshape(-1, 3, 32, 32) / 255
    images = (pixels - np.reshape(IMAGENET_MEAN, (3, 1, 1))) / np.reshape(IMAGENET_STD, (3, 1, 1))
    return images.astype(np.float32), records[:, 0]


def _node(graph: FloatGraph, item: IntegerLayer) -> onnx.NodeProto:
    return next(node for node in graph.model.graph.node if node.name == item.layer.node)


def test_the_model_saturates_as_the_instruction_does() -> None:
    """Against each pair on its own, in the order of the instructions."""
    random = np.random.default_rng(1)
    columns = random.integers(0, 256, (7, 9)).astype(np.uint8)
    weight = random.integers(-128, 128, (5, 9)).astype(np.int8)
    expected = np.zeros((7, 5), np.int64)
    for row, channel in product(range(7), range(5)):
        for a, w in zip(in_pairs(columns)[row].tolist(), in_pairs(weight)[channel].tolist(), strict=True):
            expected[row, channel] += max(INT16.min, min(INT16.max, a[0] * w[0] + a[1] * w[1]))
    assert saturating(columns, weight).tolist() == expected.tolist()
    assert (saturating(columns, weight) != exact(columns, weight)).any()


@pytest.mark.parametrize(("bits", "fits"), [(8, False), (7, True), (6, True), (4, True)])
def test_the_worst_pair_of_all(bits: int, fits: bool) -> None:
    columns = np.full((1, 4), 255, np.uint8)
    weight = np.repeat(np.asarray(signed_range(bits), np.int8)[:, None], 4, axis=1)
    assert (saturating(columns, weight) == exact(columns, weight)).all() == fits


def test_unsigned_weights_are_widened_and_fit_32_bits() -> None:
    """255 × 255 × 2 is far from 2^31; and taking off the zero points gives the signed weights' sums."""
    random = np.random.default_rng(2)
    columns = random.integers(0, 256, (6, 4608)).astype(np.uint8)
    weight = random.integers(-128, 128, (5, 4608)).astype(np.int8)
    unsigned = weight.view(np.uint8) ^ np.uint8(0x80)
    pairs = np.einsum("mkp,nkp->mnk", in_pairs(columns).astype(np.int64), in_pairs(unsigned).astype(np.int64))
    assert pairs.max() <= 2 * 255 * 255 < 2**31
    assert pairs.sum(axis=2).max() < 2**31
    sums = pairs.sum(axis=2) - 128 * columns.sum(axis=1, dtype=np.int64)[:, None]
    assert np.array_equal(sums, exact(columns, weight))


def test_8_bits_saturate_on_real_images_and_7_do_not(resnet20: Calibrated, shared: Shared) -> None:
    images, _ = _test_images(shared, 20)
    wrong: dict[int, list[float]] = {}
    for bits in (8, 7):
        layers = resnet20.layers(bits)
        tensors = forward(resnet20.graph, layers, images, exact)
        for item in layers:
            columns, weight, _ = operands(_node(resnet20.graph, item), item, tensors[item.layer.input])
            differs = saturating(columns, weight) != exact(columns, weight)
            wrong.setdefault(bits, []).append(float(differs.mean()))
    assert wrong[8][0] > 0.1  # the images: their zero point lies in the middle, so that most bytes are large
    assert sum(share > 0 for share in wrong[8]) > 10
    assert set(wrong[7]) == {0.0}


@pytest.mark.parametrize("bits", [8, 7])
def test_the_exact_model_is_the_exported_file(bits: int, resnet20: Calibrated, shared: Shared) -> None:
    images, _ = _test_images(shared, 40)
    layers = resnet20.layers(bits)
    placed = placed_ascend(read_topology(resnet20.graph), {item.layer.name: item.activation for item in layers})
    exported = logits_of(OnnxSession(build_qdq(resnet20.graph, layers, placed)), images)
    modelled = forward(resnet20.graph, layers, images, exact)["logits"]
    # A value on a rounding boundary may fall either way.
    assert np.abs(modelled - exported).mean() < 0.01 * np.abs(exported).max()
    assert (modelled.argmax(1) != exported.argmax(1)).sum() <= 1


@pytest.mark.slow
def test_saturation_costs_accuracy_and_7_bits_restore_it(resnet20: Calibrated, shared: Shared) -> None:
    images, labels = _test_images(shared, 1000)
    right: dict[tuple[int, str], int] = {}
    for bits, dot in ((8, exact), (8, saturating), (7, saturating)):
        parts = [
            forward(resnet20.graph, resnet20.layers(bits), images[start : start + 50], dot)["logits"]
            for start in range(0, len(images), 50)
        ]
        right[bits, dot.__name__] = int((np.concatenate(parts).argmax(1) == labels).sum())
    assert right[8, "saturating"] <= right[8, "exact"] - 5
    assert abs(right[7, "saturating"] - right[8, "exact"]) <= 5
