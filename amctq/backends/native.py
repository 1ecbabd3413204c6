"""amctq's own engine: NumPy on the graph that MindSpore exports. It runs anywhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar

from threadpoolctl import threadpool_limits

from amctq.backends.base import RetrainingNetwork
from amctq.backends.calibration import Watch, observe_activations, observe_both
from amctq.backends.equalization import equalize
from amctq.backends.exchange import layer_places
from amctq.backends.native_network import NativeQuantizedNetwork, RecordBackend, check_cells
from amctq.backends.ptq_config import PtqConfig
from amctq.backends.replaced_ranges import warn_of_replaced_weights
from amctq.backends.rounding import WeightRounding
from amctq.choices import (
    WEIGHT_BITS,
    ActType,
    ArqRule,
    BackendName,
    Device,
    ExportFormat,
    Placement,
    Target,
    TargetIsa,
    WeightAlgo,
    WeightStorage,
)
from amctq.data.samples import Batches
from amctq.graph.float_graph import FloatGraph
from amctq.graph.placement import PlacedActivations, Site, place_ascend
from amctq.graph.placement_ort import place_ort
from amctq.graph.topology import fuse
from amctq.networks.float_network import FloatNetwork
from amctq.networks.mindir import refuse_large
from amctq.progress import Reporter
from amctq.quant.config import ActivationConfig, QuantConfig
from amctq.quant.distribution import Distribution, LayerDistribution, distribution_in, distribution_of
from amctq.quant.folding import FusedParameters
from amctq.quant.integer import IntegerTable, IntegerWeights, integer_layers, make_record
from amctq.quant.layers import Topology
from amctq.quant.numerics import Float32Array
from amctq.quant.observers import OBSERVERS
from amctq.quant.record import PoolRecord, QuantRecord
from amctq.quant.retrain_config import RetrainConfig
from amctq.quant.weights import quantize_weight


class NativeBackend(RecordBackend):
    """ARQ or least-error weights, observers on float activations, both placements."""

    name: ClassVar[BackendName] = BackendName.NATIVE
    supports: ClassVar[Mapping[str, frozenset[Any]]] = {
        "act_algo": frozenset(OBSERVERS),
        "act_type": frozenset(ActType),
        "weight_bits": frozenset(WEIGHT_BITS),
        "weight_algo": frozenset(WeightAlgo),
        "bias_correction": frozenset({False, True}),
        "equalize": frozenset({False, True}),
        "auto": frozenset({False, True}),
        "weight_storage": frozenset(WeightStorage),
        "isa": frozenset(TargetIsa),
        "placement": frozenset(Placement),
        "target": frozenset(Target),
        "device": frozenset(Device),
        "export": frozenset(ExportFormat) - {ExportFormat.AIR},
    }
    default_export: ClassVar[tuple[ExportFormat, ...]] = (ExportFormat.ONNX,)

    def check_exportable(self, network: FloatNetwork, topology: Topology, form: ExportFormat) -> None:
        """MindIR needs layers whose operators can be exchanged. ONNX is possible for all that MindSpore exports."""
        if form is ExportFormat.MSLITE:
            refuse_large(network.cell)
        if form is ExportFormat.MINDIR:
            check_cells(network, topology)
            refuse_large(network.cell)
            _ = network.mindir_batch  # refused now, not after the calibration

    def without_cells(self, network: FloatNetwork) -> Mapping[str, str]:
        """The layers whose operators cannot be exchanged."""
        return layer_places(network.cell, network.graph, network.topology.layers).missing

    def check_quantizable(self, network: FloatNetwork, config: QuantConfig) -> None:
        """Only the weights can be in the way: the configuration holds what this engine supports."""
        fuse(network.graph, config.selected(network.topology))

    def check_retrainable(self, network: FloatNetwork, config: RetrainConfig, initial: QuantRecord | None) -> None:
        """Every layer needs an operator that can be exchanged, and initial clips."""
        from amctq.backends.native_retraining import check_places, initial_clips

        check_places(network, config.selected(network.topology))
        if initial is not None:
            initial_clips(network, config, initial)

    def quantize(
        self, *, network: FloatNetwork, config: PtqConfig, calibration: Batches, reporter: Reporter
    ) -> NativeQuantizedNetwork:
        """Fuse BatchNorm, choose weight scales, calibrate on fake-quantized weights, compute the integers.

        Equalization comes before all of that, from a pass of its own. The order is AMCT's (docs/en/reference.md,
        "Calibration"). GPTQ and GPTAQ round after the calibration, by what the layers read; that is the float network.
        """
        # The last bits of NumPy's products depend on the number of threads, and GPTQ would make other integers of them.
        # One is no loss while the images are watched: onnxruntime runs the next ones on the other cores.
        with threadpool_limits(limits=1, user_api="blas"):
            return self._quantize(network, config, calibration, reporter)

    def _quantize(
        self, network: FloatNetwork, config: PtqConfig, calibration: Batches, reporter: Reporter
    ) -> NativeQuantizedNetwork:
        topology = config.quant.selected(network.topology)
        observed_as = config.quant.activations
        show = partial(
            observe_activations,
            network.graph,
            topology,
            batches=calibration,
            reporter=reporter,
            smallest=config.smallest_scale,
        )
        equalization = equalize(network.graph, topology, config, show, reporter)
        fused = equalization.fused
        rounding = WeightRounding(network.graph, topology, fused, config, reporter)
        if config.placement is Placement.ORT:
            in_float = config.quant.pools_in_float(network.topology)
            plan = place_ort(network.graph, topology, rules=config.rules, attention=config.attention, in_float=in_float)
        else:
            plan = place_ascend(topology, observed_as)
        watches = tuple(
            Watch(
                tensor=site.watched,
                observer=_configured(observed_as[site.like], site).observer(config.ifmr_variant, config.hfmg_variant),
                what=f"the input of {', '.join(site.layers)}" if site.layers else f"what follows {site.like}",
            )
            for site in plan.sites
        )
        show = partial(show, rounding.while_calibrating)
        observed = show(watches=watches, inputs=rounding.watchers)
        pairs = zip(plan.sites, observed, strict=True)
        qparams = tuple(item.within(*site.bounds) for site, item in pairs)
        activations = PlacedActivations(plan=plan, qparams=qparams)
        found = rounding.finish(
            activations.by_layer,
            lambda inputs: show(watches=(), inputs=inputs),
            lambda rounded, pairs: observe_both(
                network.graph, topology, fused, rounded, batches=calibration, watchers=pairs
            ),
        )
        records = [make_record(topology, each.fused, each.scales, activations.by_layer, each.bits) for each in found]
        record = replace(records[0], pools=_recorded_pools(topology, activations))
        choices = tuple(
            IntegerWeights(
                layers=integer_layers(topology, each.fused, entries),
                per_tensor=_per_tensor(topology, fused, quant, config.arq_rule),
                errors=each.errors,
            )
            for each, entries, quant in zip(found, records, (config.quant, *config.others), strict=True)
        )
        if config.placement is not Placement.ORT:
            warn_of_replaced_weights(fused, record, reporter)
        return NativeQuantizedNetwork(
            record=record,
            topology=topology,
            layers=choices[0].layers,
            tables=_integer_tables(network.graph, topology, config),
            activations=activations,
            network=network,
            act_type=config.act_type,
            weight_type=config.weight_type,
            rules=config.rules,
            per_tensor=choices[0].per_tensor,
            equalized=equalization.pairs,
            distributions=_distributions(topology, fused, plan.sites, watches),
            choices=choices if config.others else (),
        )

    def retrain(
        self, *, network: FloatNetwork, config: RetrainConfig, initial: QuantRecord, reporter: Reporter | None = None
    ) -> RetrainingNetwork:
        """Replace the layers by ULQ and ARQ cells (docs/en/reference.md, "ULQ", "ARQ while retraining")."""
        # Inside the function: calibration does not need MindSpore's cells.
        from amctq.backends.native_retraining import NativeRetrainingNetwork

        self.check_record(network, initial)
        return NativeRetrainingNetwork(network, config, initial, reporter or Reporter())


def _per_tensor(
    topology: Topology, fused: Mapping[str, FusedParameters], quant: QuantConfig, rule: ArqRule
) -> dict[str, Float32Array]:
    """By layer with a scale for each channel where AMCT has one for the tensor, that one."""
    weights = {name: layer.weight for name, layer in quant.enabled.items()}
    return {
        layer.name: replace(weights[layer.name], channel_wise=False).scale(fused[layer.name].weight, rule)
        for layer in topology.layers
        if layer.kind.is_dense and weights[layer.name].channel_wise
    }


def _distributions(
    topology: Topology, fused: Mapping[str, FusedParameters], sites: tuple[Site, ...], watches: tuple[Watch, ...]
) -> dict[str, LayerDistribution]:
    """By layer, what the weights are before they are rounded, and what its observer has seen."""
    read: dict[str, Distribution] = {}
    for site, watch in zip(sites, watches, strict=True):
        density = watch.observer.density()
        if density is not None:
            read |= dict.fromkeys(site.layers, distribution_in(density))
    return {
        layer.name: LayerDistribution(weight=distribution_of(fused[layer.name].weight), activation=read.get(layer.name))
        for layer in topology.layers
    }


def _integer_tables(graph: FloatGraph, topology: Topology, config: PtqConfig) -> tuple[IntegerTable, ...]:
    """The embedding tables, each row rounded by its own scale."""
    found, weights = [], {name: table.weight for name, table in config.quant.enabled_tables.items()}
    for table in topology.tables:
        rows, how = graph.arrays[table.weight], weights[table.name]
        scale = how.scale(rows, config.arq_rule, smallest=config.smallest_scale)
        found.append(IntegerTable(table=table, weight=quantize_weight(rows, scale, bits=how.bits)))
    return tuple(found)


def _recorded_pools(topology: Topology, activations: PlacedActivations) -> tuple[PoolRecord, ...]:
    """What the record says of the means over windows; placement ``ort`` knows their input as a tensor like others."""
    read = {site.tensor: item for site, item in zip(activations.plan.sites, activations.qparams, strict=True)}
    known = {pool.name: read[pool.input] for pool in topology.pools if pool.input in read} | activations.by_layer
    return tuple(
        PoolRecord(name=pool.name, activation=known[pool.name]) for pool in topology.pools if pool.name in known
    )


def _configured(activation: ActivationConfig, site: Site) -> ActivationConfig:
    return replace(activation, asymmetric=False) if site.symmetric else activation
