"""amctq's own engine: NumPy mathematics on the graph that MindSpore exports; runs anywhere."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from amctq.backends.base import Backend, Capabilities, PtqConfig, RetrainingNetwork
from amctq.backends.calibration import Watch, observe_activations
from amctq.backends.native_network import NativeQuantizedNetwork, check_cells, on_record, recorded_topology
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
from amctq.graph.placement import PlacedActivations, place_ascend, place_ort
from amctq.graph.topology import fuse
from amctq.networks.float_network import FloatNetwork
from amctq.progress import Reporter
from amctq.quant.integer import integer_layers, make_record
from amctq.quant.layers import Topology
from amctq.quant.observers import OBSERVERS
from amctq.quant.record import QuantRecord
from amctq.quant.retrain_config import RetrainConfig
from amctq.quant.weights import quantize_weight


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
            check_cells(network, topology)

    def quantize(
        self, *, network: FloatNetwork, config: PtqConfig, calibration: Batches, reporter: Reporter
    ) -> NativeQuantizedNetwork:
        """BatchNorm fusion, weight scales, calibration on fake-quantized weights, integers.

        The order is AMCT's (docs/en/reference.md, "Calibration").
        """
        topology = config.quant.selected(network.topology)
        layers = config.quant.enabled
        with reporter.phase("weights", len(topology.layers), "layers") as advance:
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
            reporter=reporter,
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

    def check_record(self, network: FloatNetwork, record: QuantRecord) -> None:
        """Names and numbers of scales decide."""
        recorded_topology(network, record)

    def from_record(
        self,
        *,
        network: FloatNetwork,
        record: QuantRecord,
        act_type: ActType,
        weight_type: WeightType = WeightType.INT8,
    ) -> NativeQuantizedNetwork:
        """Put a network onto the scales of a record; layers that it lacks stay in float."""
        return on_record(network, record, act_type=act_type, weight_type=weight_type)

    def retrain(
        self, *, network: FloatNetwork, config: RetrainConfig, initial: QuantRecord, reporter: Reporter | None = None
    ) -> RetrainingNetwork:
        """ULQ and ARQ cells in the place of the layers (docs/en/reference.md, "ULQ", "ARQ while retraining")."""
        del reporter  # what cannot be retrained is refused
        # Inside the function: calibration has no use for MindSpore's cells.
        from amctq.backends.native_retraining import NativeRetrainingNetwork

        self.check_record(network, initial)
        return NativeRetrainingNetwork(network, config, initial)
