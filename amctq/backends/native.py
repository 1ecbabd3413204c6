"""amctq's own engine: NumPy mathematics on the graph that MindSpore exports; runs anywhere."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import onnx

from amctq.backends.base import (
    Backend,
    Capabilities,
    FloatNetwork,
    PtqConfig,
    QuantizedNetwork,
    RetrainingNetwork,
)
from amctq.backends.calibration import Watch, observe_activations
from amctq.backends.replacement import replaceable_cells
from amctq.backends.simulation import fake_quantized
from amctq.choices import (
    WEIGHT_BITS,
    ActType,
    BackendName,
    Device,
    ExportFormat,
    Placement,
    TargetIsa,
    WeightAlgo,
    WeightStorage,
    WeightType,
)
from amctq.data.samples import Batches
from amctq.errors import CheckError, InputError, NotSimulatedError
from amctq.export.ascend_lowering import lower
from amctq.export.ascend_onnx import build_ascend
from amctq.export.fakequant_onnx import build_fakequant
from amctq.export.mindir import export_mindir
from amctq.export.qdq_onnx import build_qdq
from amctq.progress import Narrator
from amctq.quant.config import nearest
from amctq.quant.integer import IntegerLayer, integer_layers, make_record
from amctq.quant.observers import OBSERVERS
from amctq.quant.placement import PlacedActivations, place_ascend, place_ort, placed_ascend
from amctq.quant.record import QuantRecord
from amctq.quant.retrain_config import RetrainConfig
from amctq.quant.topology import FloatGraph, LayerKind, QuantizableLayer, Topology, fuse
from amctq.quant.weights import quantize_weight


@dataclass(frozen=True, kw_only=True, eq=False)
class NativeQuantizedNetwork(QuantizedNetwork):
    """What the native engine makes of a network.

    Attributes:
        record: scales and offsets of its layers.
        topology: the layers that are quantized.
        layers: the integers on these scales.
        activations: which tensors are quantized, and how.
        network: the float network that they replace layers of.
        act_type: integer type of the activations.
        weight_type: integer type of the weights, where their width allows it.
    """

    record: QuantRecord
    topology: Topology
    layers: tuple[IntegerLayer, ...]
    activations: PlacedActivations
    network: FloatNetwork
    act_type: ActType
    weight_type: WeightType

    def export(self, form: ExportFormat, path: Path, metadata: Mapping[str, str]) -> None:
        """Write one of the kinds of ONNX and check it, or MindIR, which is made of MindSpore's own cells."""
        if form is ExportFormat.MINDIR:
            _check_cells(self.network, self.topology)
            with self.simulated() as cell:
                export_mindir(cell, self.network.graph.input_shape, path, metadata)
            return
        model = self._onnx(form, metadata)
        try:
            # The operators of an NPU are nothing that the checker knows; what they mean it does.
            onnx.checker.check_model(lower(model) if form is ExportFormat.ASCEND else model, full_check=True)
        except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
            message = f"the exported ONNX model is not valid: {str(error).splitlines()[0]}"
            raise CheckError(message, hint="please report this with the network; nothing was written") from error
        path.write_bytes(model.SerializeToString(deterministic=True))

    def _onnx(self, form: ExportFormat, metadata: Mapping[str, str]) -> onnx.ModelProto:
        if form is ExportFormat.ASCEND:
            return build_ascend(self.network.graph, self.layers, metadata=metadata)
        if form is ExportFormat.FAKEQUANT:
            return build_fakequant(self.network.graph, self.layers, metadata=metadata)
        return build_qdq(
            self.network.graph,
            self.layers,
            self.activations,
            act_type=self.act_type,
            weight_type=self.weight_type,
            metadata=metadata,
        )

    def simulated(self) -> AbstractContextManager[Any]:
        """Quantized cells in the place of the float ones."""
        return fake_quantized(self.network.cell, self.network.graph, self.layers, self.activations)


class NativeBackend(Backend):
    """ARQ weights, observers over float activations, both placements."""

    name: ClassVar[BackendName] = BackendName.NATIVE
    capabilities: ClassVar[Capabilities] = Capabilities(
        formats=frozenset(ExportFormat) - {ExportFormat.AIR},
        act_algos=frozenset(OBSERVERS),
        act_types=frozenset(ActType),
        weight_bits=frozenset(WEIGHT_BITS),
        weight_algos=frozenset(WeightAlgo),
        weight_storages=frozenset(WeightStorage),
        isas=frozenset(TargetIsa),
        devices=frozenset({Device.CPU, Device.ASCEND}),
        placements=frozenset(Placement),
        records=True,
    )
    default_export: ClassVar[tuple[ExportFormat, ...]] = (ExportFormat.ONNX,)

    def check_exportable(self, network: FloatNetwork, topology: Topology, form: ExportFormat) -> None:
        """MindIR is made of MindSpore's own layers, ONNX of anything that it exports."""
        if form is ExportFormat.MINDIR:
            _check_cells(network, topology)

    def quantize(
        self, *, network: FloatNetwork, config: PtqConfig, calibration: Batches, narrator: Narrator
    ) -> NativeQuantizedNetwork:
        """BatchNorm fusion, weight scales, calibration behind fake-quantized weights, integers (reference §4.8)."""
        topology = config.quant.selected(network.topology)
        layers = config.quant.enabled
        with narrator.phase("weights", len(topology.layers), "layers") as advance:
            fused = fuse(network.graph, topology)
            scales = {
                name: layers[name].weight.scale(parameters.weight, config.arq_rule)
                for name, parameters in fused.items()
            }
            bits = {name: layers[name].weight.bits for name in fused}
            fake = {
                name: replace(
                    parameters,
                    weight=quantize_weight(parameters.weight, scales[name], bits=bits[name]).dequantized(),
                )
                for name, parameters in fused.items()
            }
            advance(len(topology.layers))
        if config.placement is Placement.ORT:
            plan = place_ort(network.graph, topology)
        else:
            plan = place_ascend(topology, {name: layer.activation for name, layer in layers.items()})
        qparams = observe_activations(
            network.graph,
            topology,
            fake,
            watches=tuple(
                Watch(
                    tensor=site.watched,
                    observer=layers[site.like].activation.observer(config.ifmr_variant),
                    what=f"the input of {', '.join(site.layers)}" if site.layers else f"what follows {site.like}",
                )
                for site in plan.sites
            ),
            batches=calibration,
            narrator=narrator,
        )
        activations = PlacedActivations(plan=plan, qparams=qparams)
        record = make_record(topology, fused, scales, activations.by_layer, bits)
        return NativeQuantizedNetwork(
            record=record,
            topology=topology,
            layers=integer_layers(topology, fused, record),
            activations=activations,
            network=network,
            act_type=config.act_type,
            weight_type=config.weight_type,
        )

    def from_record(
        self,
        *,
        network: FloatNetwork,
        record: QuantRecord,
        act_type: ActType,
        weight_type: WeightType = WeightType.INT8,
    ) -> NativeQuantizedNetwork:
        """Put a network onto the scales of a record; layers that it lacks stay in float."""
        _check_record(record, network)
        topology = network.topology.only({entry.name for entry in record.layers}).without_fusion(
            {entry.name for entry in record.layers if entry.skip_fusion}
        )
        fused = fuse(network.graph, topology)
        try:
            layers = integer_layers(topology, fused, record)
        except OverflowError as error:
            message = f"the record does not fit this network: {error}"
            raise InputError(message, hint="its scales are far too small; calibrate anew, without --record") from error
        return NativeQuantizedNetwork(
            record=record,
            topology=topology,
            layers=layers,
            activations=placed_ascend(topology, {entry.name: entry.activation for entry in record.layers}),
            network=network,
            act_type=act_type,
            weight_type=weight_type,
        )

    def retrain(
        self, *, network: FloatNetwork, config: RetrainConfig, initial: QuantRecord, narrator: Narrator | None = None
    ) -> RetrainingNetwork:
        """ULQ and ARQ cells in the place of the layers (reference §4.7, §4.8)."""
        del narrator  # what cannot be retrained is refused
        # Inside the function: calibration has no use for MindSpore's cells.
        from amctq.backends.retraining import NativeRetrainingNetwork

        _check_record(initial, network)
        return NativeRetrainingNetwork(network, config, initial)


def _check_cells(network: FloatNetwork, topology: Topology) -> None:
    try:
        replaceable_cells(network.cell, topology.layers)
    except NotSimulatedError as error:
        message = f"the network cannot be written as MindIR: {error.message}"
        hint = "build that layer with the class named, leave it in float (--skip-layer), or use --export onnx"
        raise InputError(message, hint=hint) from error


def _check_record(record: QuantRecord, network: FloatNetwork) -> None:
    known = {layer.name: layer for layer in network.topology.layers}
    for entry in record.layers:
        if entry.name not in known:
            message = f"the record's layer {entry.name} is not in this network"
            raise InputError(message, hint=nearest(entry.name, known))
        _check_scales(known[entry.name], len(entry.weight_scale), network.graph)


def _check_scales(layer: QuantizableLayer, found: int, graph: FloatGraph) -> None:
    channels = graph.arrays[layer.weight].shape[0]
    if found != 1 and (found != channels or layer.kind is LayerKind.DENSE):
        expected = "1" if layer.kind is LayerKind.DENSE else f"1 or {channels}"
        message = f"the record's layer {layer.name} has {found} weight scales, expected {expected}"
        raise InputError(message, hint="this record belongs to another network")
