"""What retraining shall do to each layer: the value that AMCT's ``retrain_quant_config.json`` holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from amctq.errors import InputError
from amctq.quant.config import matching_layers
from amctq.quant.layers import LayerKind, Topology


@dataclass(frozen=True, kw_only=True)
class UlqConfig:
    """How a layer's input is quantized while training (docs/en/reference.md, "ULQ"); the defaults are AMCT's.

    Attributes:
        clip_max: where the upper clip starts, more than 0; None leaves it to the record.
        clip_min: where the lower clip starts, less than 0; given together with ``clip_max``.
        fixed_min: the lower clip is 0 and not learned; None makes it so behind a ReLU.
    """

    clip_max: float | None = None
    clip_min: float | None = None
    fixed_min: bool | None = None

    def __post_init__(self) -> None:
        if (self.clip_max is None) != (self.clip_min is None):
            message = "clip_max and clip_min are given together or not at all"
            raise ValueError(message)


@dataclass(frozen=True, kw_only=True)
class ArqRetrainConfig:
    """How a weight is quantized while training (docs/en/reference.md, "ARQ while retraining"); the defaults are AMCT's.

    Attributes:
        bits: width of the integers, one of WEIGHT_BITS.
        channel_wise: one scale per output channel; never for Dense.
    """

    bits: int = 8
    channel_wise: bool = True


@dataclass(frozen=True, kw_only=True)
class RetrainLayerConfig:
    """What shall be done to one layer.

    Attributes:
        name: the cell's name.
        enabled: quantized at all.
        activation: of its input.
        weight: of its weight.
    """

    name: str
    enabled: bool = True
    activation: UlqConfig = field(default_factory=UlqConfig)
    weight: ArqRetrainConfig = field(default_factory=ArqRetrainConfig)


@dataclass(frozen=True, kw_only=True)
class RetrainConfig:
    """What shall be done to a network.

    Attributes:
        layers: of every quantizable layer, in the order of execution.
        batch_num: how many batches calibrate before, where the file says so.
    """

    layers: tuple[RetrainLayerConfig, ...]
    batch_num: int | None = None

    @property
    def enabled(self) -> dict[str, RetrainLayerConfig]:
        """The layers that are quantized, by name."""
        return {layer.name: layer for layer in self.layers if layer.enabled}

    def selected(self, topology: Topology) -> Topology:
        """``topology`` with these layers alone.

        Raises:
            InputError: no layer is left to quantize.
        """
        if not self.enabled:
            message = "no layer is left to retrain: the configuration skips them all"
            raise InputError(message, hint="enable at least one layer")
        return topology.only(self.enabled)


def default_retrain_config(
    topology: Topology, *, per_tensor: bool = False, weight_bits: int = 8, skip: Sequence[str] = ()
) -> RetrainConfig:
    """Every layer that can be, as AMCT does it, but for what options say.

    Args:
        topology: of the network.
        per_tensor: one weight scale for the tensor, in convolutions too.
        weight_bits: width of the weights.
        skip: names or shell patterns of layers that stay in float.

    Raises:
        UsageError: a pattern matches nothing.
        InputError: no layer is left.
    """
    skipped = matching_layers(skip, topology)
    config = RetrainConfig(
        layers=tuple(
            RetrainLayerConfig(
                name=layer.name,
                enabled=layer.name not in skipped,
                weight=ArqRetrainConfig(bits=weight_bits, channel_wise=layer.kind is LayerKind.CONV and not per_tensor),
            )
            for layer in topology.layers
        )
    )
    config.selected(topology)
    return config
