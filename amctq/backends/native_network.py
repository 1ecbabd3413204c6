"""The native engine's quantized network: made from a record, exported in every format."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import onnx

from amctq.backends.base import Backend, QuantizedNetwork
from amctq.backends.exchange import layer_places
from amctq.backends.partial import placed_part
from amctq.backends.simulation import simulate
from amctq.choices import ActType, ExportFormat, WeightType
from amctq.errors import CheckError, InputError, NoSimulationError, nearest
from amctq.export.ascend_onnx import build_ascend
from amctq.export.fakequant_onnx import build_fakequant
from amctq.export.float_arithmetic import build_float_arithmetic
from amctq.export.mindir import export_mindir
from amctq.export.qdq_onnx import build_qdq
from amctq.graph.float_graph import FloatGraph
from amctq.graph.placement import PlacedActivations, placed_ascend
from amctq.graph.qdq_rules import ONNXRUNTIME, QdqRules
from amctq.graph.topology import fuse
from amctq.inference.ascend_lowering import lower
from amctq.networks.float_network import FloatNetwork
from amctq.quant.distribution import LayerDistribution, distribution_of
from amctq.quant.equalization import EqualizedPair
from amctq.quant.integer import IntegerLayer, IntegerTable, IntegerWeights, integer_layers
from amctq.quant.layers import QuantizableLayer, Topology
from amctq.quant.numerics import Float32Array
from amctq.quant.record import QuantRecord


@dataclass(frozen=True, kw_only=True, eq=False)
class NativeQuantizedNetwork(QuantizedNetwork):
    """A network that the native engine has quantized.

    Attributes:
        record: scales and offsets of its layers.
        topology: the layers that are quantized.
        layers: the integers of each layer.
        activations: which tensors are quantized, and how.
        network: the float network that has these layers.
        act_type: integer type of the activations.
        weight_type: integer type of the weights, if their width allows it.
        rules: of the runtime that the file is for.
        tables: as in the base class.
        per_tensor: as in the base class.
        equalized: as in the base class.
        distributions: as in the base class.
        choices: as in the base class.
    """

    record: QuantRecord
    topology: Topology
    layers: tuple[IntegerLayer, ...]
    activations: PlacedActivations
    network: FloatNetwork
    act_type: ActType
    weight_type: WeightType
    rules: QdqRules = ONNXRUNTIME
    tables: tuple[IntegerTable, ...] = ()
    per_tensor: Mapping[str, Float32Array] = field(default_factory=dict)
    equalized: tuple[EqualizedPair, ...] = ()
    distributions: Mapping[str, LayerDistribution] = field(default_factory=dict)
    choices: tuple[IntegerWeights, ...] = ()

    def export(self, form: ExportFormat, path: Path, metadata: Mapping[str, str]) -> None:
        """Write and check an ONNX file of one kind, or write MindIR, which MindSpore exports from the simulation."""
        if form is ExportFormat.MINDIR:
            check_cells(self.network, self.topology)
            with self.simulation() as cell:
                graph, batch = self.network.graph, self.network.mindir_batch
                export_mindir(cell, graph.inputs, path, batch=batch, metadata=metadata)
            return
        model = self._onnx(form, metadata)
        try:
            # The checker does not know the operators of an NPU, so it gets the standard operators that they stand for.
            onnx.checker.check_model(lower(model) if form is ExportFormat.ASCEND else model, full_check=True)
        except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
            message = f"the exported ONNX model is not valid: {str(error).splitlines()[0]}"
            raise CheckError(message, hint="please report this with the network; nothing was written") from error
        path.write_bytes(model.SerializeToString(deterministic=True))

    def _onnx(self, form: ExportFormat, metadata: Mapping[str, str]) -> onnx.ModelProto:
        if form is ExportFormat.ASCEND:
            return build_ascend(self.network.graph, self.layers, self.activations.pools, metadata=metadata)
        if form is ExportFormat.FAKEQUANT:
            return build_fakequant(self.network.graph, self.layers, self.activations.pools, metadata=metadata)
        return build_qdq(
            self.network.graph,
            self.layers,
            self.activations,
            tables=self.tables,
            act_type=self.act_type,
            weight_type=self.weight_type,
            rules=self.rules,
            metadata=metadata,
        )

    def only(self, names: Collection[str], *, attention: bool = True, stored: bool = False) -> NativeQuantizedNetwork:
        """The same network with fewer layers quantized; placement ``ort`` is decided anew for them."""
        topology = self.topology.only(names, pools=names, tables=names)
        return replace(
            self,
            topology=topology,
            record=QuantRecord(
                layers=tuple(entry for entry in self.record.layers if entry.name in names),
                pools=tuple(entry for entry in self.record.pools if entry.name in names),
            ),
            layers=tuple(item for item in self.layers if item.layer.name in names),
            tables=tuple(item for item in self.tables if item.table.name in names),
            activations=placed_part(
                self.network.graph, topology, self.activations, rules=self.rules, attention=attention
            ),
            weight_type=self.weight_type if stored else WeightType.INT8,
        )

    def with_weights(self, *weights: IntegerWeights) -> NativeQuantizedNetwork:
        """The same network with other integers, on the scales that they bring along."""
        new = {item.layer.name: item for each in weights for item in each.layers}
        per_tensor = {name: scale for each in weights for name, scale in each.per_tensor.items()}
        return replace(
            self,
            layers=tuple(new.get(item.layer.name, item) for item in self.layers),
            per_tensor={**self.per_tensor, **per_tensor},
            record=replace(
                self.record,
                layers=tuple(
                    replace(entry, weight_scale=new[entry.name].weight.scale, weight_bits=new[entry.name].weight.bits)
                    if entry.name in new
                    else entry
                    for entry in self.record.layers
                ),
            ),
        )

    def onnx_graph(self) -> onnx.ModelProto:
        """The graph of the QDQ file."""
        return self._onnx(ExportFormat.ONNX, {})

    def simulation(self) -> AbstractContextManager[Any]:
        """The live cell, with quantized cells in place of the float ones."""
        if self.network.cell is None:
            message = "the network is a file"
            raise NoSimulationError(message)
        if self.network.unlike is not None:
            message = "only the graph mode of MindSpore computes it"
            raise NoSimulationError(message)
        if self.tables:
            message = f"the cells hold the embedding table {self.tables[0].table.name} in float"
            raise NoSimulationError(message)
        return simulate(self.network.cell, self.network.graph, self.layers, self.activations)

    def float_arithmetic(self) -> onnx.ModelProto:
        """The graph with every quantization written as Div, Round, Clip, Mul."""
        return build_float_arithmetic(self.network.graph, self.layers, self.activations, self.tables)


class RecordBackend(Backend):
    """What both engines share: amctq's own network computes with the scales of a record."""

    def check_record(self, network: FloatNetwork, record: QuantRecord) -> None:
        """Check the names of layers and the numbers of scales."""
        recorded_topology(network, record)

    def from_record(
        self,
        *,
        network: FloatNetwork,
        record: QuantRecord,
        act_type: ActType,
        weight_type: WeightType = WeightType.INT8,
    ) -> NativeQuantizedNetwork:
        """The network with integers on the scales of the record."""
        return on_record(network, record, act_type=act_type, weight_type=weight_type)


def on_record(
    network: FloatNetwork, record: QuantRecord, *, act_type: ActType, weight_type: WeightType
) -> NativeQuantizedNetwork:
    """Quantize a network with the scales of a record. Layers that the record lacks stay in float.

    Raises:
        InputError: the record belongs to another network.
    """
    topology = recorded_topology(network, record)
    fused = fuse(network.graph, topology)
    activations = {entry.name: entry.activation for entry in record.layers}
    activations |= {entry.name: entry.activation for entry in record.pools}
    try:
        layers = integer_layers(topology, fused, record)
    except OverflowError as error:
        message = f"the record does not fit this network: {error}"
        raise InputError(message, hint="its scales are far too small; calibrate again, without --record") from error
    return NativeQuantizedNetwork(
        record=record,
        topology=topology,
        layers=layers,
        activations=placed_ascend(topology, activations),
        network=network,
        act_type=act_type,
        weight_type=weight_type,
        distributions={
            layer.name: LayerDistribution(weight=distribution_of(fused[layer.name].weight)) for layer in topology.layers
        },
    )


def recorded_topology(network: FloatNetwork, record: QuantRecord) -> Topology:
    """The layers of ``network`` that a record quantizes.

    Raises:
        InputError: the record belongs to another network.
    """
    known = {layer.name: layer for layer in network.topology.layers}
    for entry in record.layers:
        if entry.name not in known:
            message = f"the record's layer {entry.name} is not in this network"
            raise InputError(message, hint=nearest(entry.name, known))
        _check_scales(known[entry.name], len(entry.weight_scale), network.graph)
    chosen = network.topology.only(
        {entry.name for entry in record.layers}, pools={entry.name for entry in record.pools}
    )
    return chosen.without_fusion({entry.name for entry in record.layers if entry.skip_fusion})


def _check_scales(layer: QuantizableLayer, found: int, graph: FloatGraph) -> None:
    channels = layer.by_channel(graph.arrays[layer.weight]).shape[0]
    if found != 1 and (found != channels or layer.kind.is_dense):
        expected = "1" if layer.kind.is_dense else f"1 or {channels}"
        message = f"the record's layer {layer.name} has {found} weight scales, expected {expected}"
        raise InputError(message, hint="this record belongs to another network")


def check_cells(network: FloatNetwork, topology: Topology) -> None:
    """Make sure that a quantized cell can take the place of every layer's operator. MindIR needs this.

    Raises:
        InputError: a layer has no such operator.
    """
    missing = layer_places(network.cell, network.graph, topology.layers).missing
    if missing:
        message = f"the network cannot be written as MindIR: {reasons(missing)}"
        options = " ".join(f"--skip-layer {name}" for name in missing)
        raise InputError(message, hint=f"leave it in float ({options}), or use --export onnx")


def reasons(missing: Mapping[str, str]) -> str:
    """For a message: every layer with its reason."""
    return "; ".join(f"{name}: {reason}" for name, reason in missing.items())
