"""What AMCT's front ends call a layer."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from amctq.amct_files.layer_names import match_names
from amctq.amct_files.record_names import record_of
from amctq.errors import InputError
from amctq.quant.layers import LayerKind, QuantizableLayer, Topology
from amctq.quant.numerics import QParams
from amctq.quant.record import LayerRecord, QuantRecord

# Layers of the official ResNet-50 as MindSpore names and exports them.
NODES = {
    "conv1": "5Conv",
    "layer1.0.conv1": "9Conv",
    "layer1.0.conv3": "15Conv",
    "layer1.0.down_sample_layer.0": "17Conv",
    "layer1.1.conv1": "21Conv",
    "end_point": "130Gemm",
}


def _layer(name: str, node: str) -> QuantizableLayer:
    return QuantizableLayer(
        name=name,
        kind=LayerKind.CONV if node.endswith("Conv") else LayerKind.DENSE,
        node=node,
        input="",
        raw_output="",
        output="",
        weight=f"{name}.weight",
        bias=None,
        batch_norm=None,
        batch_norm_node=None,
    )


TOPOLOGY = Topology(layers=tuple(_layer(*pair) for pair in NODES.items()), left_in_float=())
SPELLINGS = {
    "mindspore": list(NODES),
    "mindspore-wrapped": [f"network.{name}" for name in NODES],
    "pytorch": ["conv1", "layer1.0.conv1", "layer1.0.conv3", "layer1.0.downsample.0", "layer1.1.conv1", "fc"],
    "pytorch-parallel": [
        *("module.conv1", "module.layer1.0.conv1", "module.layer1.0.conv3", "module.layer1.0.downsample.0"),
        *("module.layer1.1.conv1", "module.fc"),
    ],
    "onnx-of-pytorch": [
        *("/conv1/Conv", "/layer1/layer1.0/conv1/Conv", "/layer1/layer1.0/conv3/Conv"),
        *("/layer1/layer1.0/downsample/downsample.0/Conv", "/layer1/layer1.1/conv1/Conv", "/fc/Gemm"),
    ],
    "onnx-of-mindspore": list(NODES.values()),
}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_every_front_end_is_understood(spelling: str) -> None:
    names = SPELLINGS[spelling]
    matched = match_names(reversed(names), TOPOLOGY)
    assert not matched.unknown
    assert [matched.layers[name] for name in names] == list(NODES)
    assert bool(matched.renamed) == (spelling != "mindspore")


def test_numbered_nodes_mean_layers_only_where_none_is_left_out() -> None:
    names = list(NODES.values())
    assert match_names([*names, "8GlobalAveragePool"], TOPOLOGY).unknown == ("8GlobalAveragePool",)
    assert match_names(names[1:], TOPOLOGY).unknown == tuple(names[1:])


@pytest.mark.parametrize("name", ["Conv_0", "conv2", "layer1.0", "layer1.0.downsample", "fc2", "classifier.1", "/Conv"])
def test_nothing_is_guessed_at(name: str) -> None:
    assert match_names([name, "conv1"], TOPOLOGY).unknown == (name,)


def test_two_names_of_one_layer_are_both_unknown() -> None:
    matched = match_names(["fc", "conv1", "end_point"], TOPOLOGY)
    assert matched.unknown == ("fc", "end_point")
    assert matched.layers == {"conv1": "conv1"}


def test_a_head_is_one_where_there_is_one_dense() -> None:
    one = replace(TOPOLOGY, layers=(_layer("conv1", "5Conv"), _layer("logits", "130Gemm")))
    assert match_names(["fc"], one).layers == {"fc": "logits"}
    two = replace(one, layers=(*one.layers, _layer("aux", "131Gemm")))
    assert match_names(["fc"], two).unknown == ("fc",)


def _record(names: list[str]) -> QuantRecord:
    scale = np.full(1, 0.5, np.float32)  # 1 is that of a pool
    return QuantRecord(
        layers=tuple(
            LayerRecord(name=name, activation=QParams(float(index + 1), 0), weight_scale=scale)
            for index, name in enumerate(names)
        )
    )


def test_a_record_gets_the_networks_names_and_order() -> None:
    record, matched = record_of(_record(["fc", "layer1.0.downsample.0", "conv1"]), TOPOLOGY)
    assert [layer.name for layer in record.layers] == ["conv1", "layer1.0.down_sample_layer.0", "end_point"]
    assert [layer.activation.scale for layer in record.layers] == [3.0, 2.0, 1.0]
    assert matched.renamed == {"fc": "end_point", "layer1.0.downsample.0": "layer1.0.down_sample_layer.0"}


def test_a_record_of_another_network_is_refused_name_by_name() -> None:
    with pytest.raises(InputError, match=r"layers Conv_0, Conv_2, avgpool are not in this network") as caught:
        record_of(_record(["Conv_0", "Conv_2", "avgpool", "fc"]), TOPOLOGY)
    assert "give them the names of this network: conv1, " in (caught.value.hint or "")
    with pytest.raises(InputError, match="the record's layer conv7 is not in this network") as caught:
        record_of(_record(["conv1", "conv7"]), TOPOLOGY)
    assert caught.value.hint == "did you mean conv1?"
    with pytest.raises(InputError, match=r"c7 and 2 more are not in this network"):
        record_of(_record([f"c{number}" for number in range(10)]), TOPOLOGY)
