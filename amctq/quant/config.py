"""The configuration of each layer: the value that AMCT's ``config.json`` holds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Generic, TypeVar

from amctq.choices import ActAlgo, ArqRule, HfmgVariant, IfmrVariant, WeightAlgo
from amctq.errors import InputError
from amctq.quant import observers
from amctq.quant.layers import Topology
from amctq.quant.numerics import EPSILON, Float32Array
from amctq.quant.weight_mse import mse_scale
from amctq.quant.weights import arq_scale

Activation = TypeVar("Activation")
Config = TypeVar("Config", bound="NetworkConfig[Any]")
SKIPPED = "skipped"  # why a layer is in float, where only a file or a record says so


@dataclass(frozen=True, kw_only=True)
class ActivationConfig:
    """How a layer's input is observed; the defaults are AMCT's.

    Attributes:
        algo: the observer.
        asymmetric: the offset may differ from 0.
        max_percentile: of IFMR, (0.5, 1].
        min_percentile: of IFMR, (0.5, 1].
        search_range: of IFMR, 0 < first < last.
        search_step: of IFMR, at most last - first.
        num_of_bins: of HFMG, 1024, 2048, 4096 or 8192.
    """

    algo: ActAlgo = ActAlgo.IFMR
    asymmetric: bool = True
    max_percentile: float = 0.999999
    min_percentile: float = 0.999999
    search_range: tuple[float, float] = (0.7, 1.3)
    search_step: float = 0.01
    num_of_bins: int = 4096

    def observer(
        self, ifmr_variant: IfmrVariant, hfmg_variant: HfmgVariant = HfmgVariant.FREE_ZEROS
    ) -> observers.Observer:
        """A new observer as configured."""
        symmetric = not self.asymmetric
        if self.algo is ActAlgo.IFMR:
            settings = observers.IfmrSettings(
                max_percentile=self.max_percentile,
                min_percentile=self.min_percentile,
                search_range=self.search_range,
                search_step=self.search_step,
                symmetric=symmetric,
                variant=ifmr_variant,
            )
            return observers.IfmrObserver(settings)
        if self.algo is ActAlgo.HFMG:
            return observers.HfmgObserver(
                observers.HfmgSettings(num_of_bins=self.num_of_bins, symmetric=symmetric, variant=hfmg_variant)
            )
        if self.algo is ActAlgo.PERCENTILE:
            return observers.PercentileObserver(observers.PercentileSettings(symmetric=symmetric))
        simple: dict[ActAlgo, Callable[..., observers.Observer]] = {
            ActAlgo.MINMAX: observers.MinMaxObserver,
            ActAlgo.MSE: observers.MseObserver,
            ActAlgo.ENTROPY: observers.EntropyObserver,
        }
        return simple[self.algo](symmetric=symmetric)


@dataclass(frozen=True, kw_only=True)
class WeightConfig:
    """How a layer's weight is quantized; the defaults are AMCT's.

    Attributes:
        bits: width of the integers, one of WEIGHT_BITS. AMCT allows 6 and 7 for convolutions only; amctq for Dense too,
            because a CPU without VNNI needs 7 there as well.
        algo: what chooses the scales.
        channel_wise: one scale per output channel; AMCT has none for Dense.
    """

    bits: int = 8
    algo: WeightAlgo = WeightAlgo.ARQ
    channel_wise: bool = True

    def scale(self, weight: Float32Array, rule: ArqRule, *, smallest: float = EPSILON) -> Float32Array:
        """Scales of ``weight``, shape (C_out, …): float32 of shape (C_out,) or (1,).

        A scale below ``smallest`` becomes 1 (ARQ) or ``smallest`` (MSE).
        """
        if self.algo is WeightAlgo.MSE:
            return mse_scale(weight, channel_wise=self.channel_wise, bits=self.bits, smallest=smallest)
        return arq_scale(weight, channel_wise=self.channel_wise, bits=self.bits, rule=rule, smallest=smallest)


@dataclass(frozen=True, kw_only=True)
class LayerConfig(Generic[Activation]):
    """The configuration of one layer.

    Attributes:
        name: the cell's name.
        enabled: quantized at all.
        activation: of its input.
        weight: of its weight.
        why_in_float: why it is not quantized, where it is not. No file holds this.
    """

    name: str
    enabled: bool = True
    activation: Activation
    weight: WeightConfig = field(default_factory=WeightConfig)
    why_in_float: str = field(default=SKIPPED, compare=False)


@dataclass(frozen=True, kw_only=True)
class TableConfig:
    """The configuration of an embedding table, which AMCT's files do not have.

    Attributes:
        name: as the topology names it.
        enabled: quantized at all.
        weight: of its rows, which are its channels.
        why_in_float: as in ``LayerConfig``.
    """

    name: str
    enabled: bool = True
    weight: WeightConfig = field(default_factory=WeightConfig)
    why_in_float: str = field(default=SKIPPED, compare=False)


@dataclass(frozen=True, kw_only=True)
class NetworkConfig(Generic[Activation]):
    """The configuration of a network.

    Attributes:
        layers: of every quantizable layer, in the order of execution.
        batch_num: how many batches calibrate; AMCT's default is 1.
    """

    purpose: ClassVar[str]
    layers: tuple[LayerConfig[Activation], ...]
    batch_num: int = 1

    @property
    def enabled(self) -> dict[str, LayerConfig[Activation]]:
        """The layers that are quantized, by name."""
        return {layer.name: layer for layer in self.layers if layer.enabled}

    @property
    def why_in_float(self) -> dict[str, str]:
        """By layer that is not quantized, why."""
        return {layer.name: layer.why_in_float for layer in self.layers if not layer.enabled}

    def as_written(self: Config, topology: Topology) -> Config:
        """What AMCT's file can hold: one weight scale for a Dense. Layers that AMCT lacks stand there too.

        Args:
            topology: of the network.
        """
        dense = {layer.name for layer in topology.layers if layer.kind.is_dense}
        layers = (
            replace(layer, weight=replace(layer.weight, channel_wise=False)) if layer.name in dense else layer
            for layer in self.layers
        )
        return replace(self, layers=tuple(layers))

    def selected(self, topology: Topology) -> Topology:
        """``topology`` with these layers only.

        Raises:
            InputError: no layer is left.
        """
        if not self.enabled:
            message = f"no layer is left to {self.purpose}: the configuration skips them all"
            raise InputError(message, hint="enable at least one layer")
        return topology.only(self.enabled)


@dataclass(frozen=True, kw_only=True)
class QuantConfig(NetworkConfig[ActivationConfig]):
    """What post-training quantization does to a network.

    Attributes:
        activation_offset: default of ``asymmetric``.
        do_fusion: BatchNorm is folded into the convolution before it.
        skip_fusion_layers: convolutions that keep their BatchNorm all the same.
        pools: of the means over windows that the file names; the others follow the placement.
        tables: of the embedding tables.
    """

    purpose = "quantize"
    activation_offset: bool = True
    do_fusion: bool = True
    skip_fusion_layers: tuple[str, ...] = ()
    pools: tuple[LayerConfig[ActivationConfig], ...] = ()
    tables: tuple[TableConfig, ...] = ()

    @property
    def enabled_tables(self) -> dict[str, TableConfig]:
        """The embedding tables that are quantized, by name."""
        return {table.name: table for table in self.tables if table.enabled}

    @property
    def why_in_float(self) -> dict[str, str]:
        """By layer or embedding table that is not quantized, why."""
        return super().why_in_float | {item.name: item.why_in_float for item in self.tables if not item.enabled}

    @property
    def activations(self) -> dict[str, ActivationConfig]:
        """How each input is observed, by the layer or the mean over windows that reads it."""
        return {item.name: item.activation for item in (*self.layers, *self.pools) if item.enabled}

    @property
    def unfused(self) -> tuple[str, ...]:
        """The layers whose BatchNorm, where they have one, is not folded into them."""
        return self.skip_fusion_layers if self.do_fusion else tuple(self.enabled)

    def with_channels_of_dense(self, topology: Topology) -> QuantConfig:
        """The same, read for placement ``ort``: a Dense has a scale for each channel, as it has without a file.

        AMCT's file can only say one scale for it. Where it says so of every convolution too, that is meant.

        Args:
            topology: of the network.
        """
        dense = {layer.name for layer in topology.layers if layer.kind.is_dense}
        split = {layer.name for layer in topology.layers if layer.name in dense and layer.channel_axis is not None}
        convolutions = [layer.weight.channel_wise for name, layer in self.enabled.items() if name not in dense]
        if convolutions and not any(convolutions):
            return self
        layers = (
            replace(layer, weight=replace(layer.weight, channel_wise=True)) if layer.name in split else layer
            for layer in self.layers
        )
        return replace(self, layers=tuple(layers))

    def selected(self, topology: Topology) -> Topology:
        """``topology`` with these layers only, BatchNorm fused where the configuration says so.

        Raises:
            InputError: no layer is left.
        """
        super().selected(topology)
        pools = {pool.name for pool in self.pools if pool.enabled}
        return topology.only(self.enabled, pools=pools, tables=self.enabled_tables).without_fusion(self.unfused)

    def with_widths(self, widths: Mapping[str, int], algo: WeightAlgo | None = None) -> QuantConfig:
        """The same configuration with other weights in some layers.

        Args:
            widths: by layer, bits of its weight.
            algo: how these are rounded; None for what is configured.
        """
        layers = (
            replace(item, weight=replace(item.weight, bits=widths[item.name], algo=algo or item.weight.algo))
            if item.name in widths
            else item
            for item in self.layers
        )
        return replace(self, layers=tuple(layers))

    def pools_in_float(self, topology: Topology) -> frozenset[str]:
        """The nodes of the means over windows of ``topology`` that the configuration leaves in float."""
        off = {pool.name for pool in self.pools if not pool.enabled}
        return frozenset(pool.node for pool in topology.pools if pool.name in off)


def pairs_for_int4(config: Config, topology: Topology, warn: Callable[[str], None]) -> Config:
    """The same configuration; weights of 4 bits that AMCT cannot store in pairs get 8, as AMCT does it.

    Args:
        config: of the network.
        topology: of the network.
        warn: called with these layers, in words.
    """
    alone = {layer.name for layer in topology.layers if not layer.packs_int4}
    wide = [name for name, layer in config.enabled.items() if layer.weight.bits == 4 and name in alone]
    if not wide:
        return config
    warn(
        f"{', '.join(wide)}: weights of 8 bits instead of 4: AMCT stores two of 4 bits in a byte, and "
        "these have groups or an odd number of input channels"
    )
    layers = (
        replace(layer, weight=replace(layer.weight, bits=8)) if layer.name in wide else layer for layer in config.layers
    )
    return replace(config, layers=tuple(layers))
