"""A record and a configuration of one run agree; where they cannot be of one run, it is said in what."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from amctq.graph.topology import read_topology
from amctq.quant.config import QuantConfig
from amctq.quant.default_config import default_config
from amctq.quant.numerics import QParams
from amctq.quant.record import LayerRecord, QuantRecord
from amctq.quant.record_agreement import disagreements
from tests.graph.graphs import residual_graph

GRAPH = residual_graph()
TOPOLOGY = read_topology(GRAPH)


def _record(**changed: Any) -> QuantRecord:
    """Of all layers; ``changed`` is what conv1 has else."""
    layers = [
        LayerRecord(
            name=layer.name,
            activation=QParams(0.5, -3),
            weight_scale=np.ones(1 if layer.kind.is_dense else 4, np.float32),
        )
        for layer in TOPOLOGY.layers
    ]
    return QuantRecord(layers=(replace(layers[0], **changed), *layers[1:]))


def _found(record: QuantRecord, config: QuantConfig) -> list[str]:
    return list(disagreements(record, config, TOPOLOGY, GRAPH.arrays))


def test_a_record_and_a_configuration_of_one_run_agree() -> None:
    assert _found(_record(), default_config(TOPOLOGY)) == []
    assert _found(_record(skip_fusion=True), replace(default_config(TOPOLOGY), skip_fusion_layers=("conv1",))) == []
    assert _found(_record(skip_fusion=True), replace(default_config(TOPOLOGY), do_fusion=False)) == []
    without = QuantRecord(layers=_record().layers[1:])
    assert _found(without, default_config(TOPOLOGY, skip=["conv1"])) == []
    assert _found(_record(weight_bits=4), _with(weight={"bits": 4})) == []
    assert _found(_record(activation=QParams(0.5, 0)), _with(activation={"asymmetric": False})) == []
    assert _found(_record(weight_scale=np.ones(1, np.float32)), _with(weight={"channel_wise": False})) == []


def _with(weight: dict[str, Any] | None = None, activation: dict[str, Any] | None = None) -> QuantConfig:
    config = default_config(TOPOLOGY)
    first = config.layers[0]
    changed = replace(
        first, weight=replace(first.weight, **weight or {}), activation=replace(first.activation, **activation or {})
    )
    return replace(config, layers=(changed, *config.layers[1:]))


@pytest.mark.parametrize(
    ("record", "config", "says"),
    [
        (_record(), default_config(TOPOLOGY, skip=["conv1"]), "conv1 is in the record, and the configuration leaves"),
        (QuantRecord(layers=_record().layers[1:]), default_config(TOPOLOGY), "conv1 is not in the record, and the co"),
        (_record(weight_bits=4), default_config(TOPOLOGY), "of 4 bits in the record, and num_bits is 8"),
        (_record(), _with(weight={"bits": 4}), "of 8 bits in the record, and num_bits is 4"),
        (_record(), _with(activation={"asymmetric": False}), "offset_d -3 in the record, and asymmetric is false"),
        (_record(), _with(weight={"channel_wise": False}), "4 weight scales in the record, and channel_wise is false"),
        (_record(skip_fusion=True), default_config(TOPOLOGY), "conv1 has skip_fusion in the record, and is not in"),
    ],
)
def test_what_cannot_be_of_one_run_is_said(record: QuantRecord, config: QuantConfig, says: str) -> None:
    (found,) = _found(record, config)
    assert found.startswith("conv1 ")
    assert says in found
