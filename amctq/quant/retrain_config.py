"""The retraining configuration of each layer: the value that AMCT's ``retrain_quant_config.json`` holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from amctq.choices import usual_weight_algo
from amctq.quant.config import NetworkConfig
from amctq.quant.default_config import default_layers
from amctq.quant.layers import Topology


@dataclass(frozen=True, kw_only=True)
class UlqConfig:
    """How a layer's input is quantized while training (docs/en/reference.md, "ULQ"); the defaults are AMCT's.

    Attributes:
        clip_max: where the upper clip starts, more than 0; None leaves it to the record.
        clip_min: where the lower clip starts, less than 0; given together with ``clip_max``.
        fixed_min: the lower clip is 0 and not learned; None makes it so after a ReLU.
    """

    clip_max: float | None = None
    clip_min: float | None = None
    fixed_min: bool | None = None

    def __post_init__(self) -> None:
        if (self.clip_max is None) != (self.clip_min is None):
            message = "clip_max and clip_min are given together or not at all"
            raise ValueError(message)


@dataclass(frozen=True, kw_only=True)
class RetrainConfig(NetworkConfig[UlqConfig]):
    """What retraining does to a network.

    The scales of its weights are ARQ's, which follow the weights; but a weight of GPTQ starts on the integers of a
    calibration, and keeps their scale (docs/en/reference.md, "ARQ while retraining", "Few bits while retraining").
    """

    purpose = "retrain"

    @property
    def rounded_by_inputs(self) -> bool:
        """Whether a weight starts on the integers of GPTQ."""
        return any(layer.weight.algo.by_inputs for layer in self.enabled.values())

    def starting_rounded(self) -> RetrainConfig:
        """The same; weights below 8 bits start on the integers of GPTQ, as ``ptq`` rounds them."""
        layers = (
            replace(layer, weight=replace(layer.weight, algo=usual_weight_algo(layer.weight.bits)))
            for layer in self.layers
        )
        return replace(self, layers=tuple(layers))


def default_retrain_config(
    topology: Topology,
    *,
    per_tensor: bool = False,
    weight_bits: int = 8,
    skip: Sequence[str] = (),
    in_float: Mapping[str, str] = MappingProxyType({}),
) -> RetrainConfig:
    """Every layer that can be, as AMCT does it, but for what options say.

    Args:
        topology: of the network.
        per_tensor: one weight scale for the tensor, in convolutions too.
        weight_bits: width of the weights.
        skip: names or shell patterns of layers or cells that stay in float.
        in_float: names of further layers that stay in float, and why.

    Raises:
        UsageError: a pattern matches nothing.
        InputError: no layer is left.
    """
    layers = default_layers(
        topology, UlqConfig(), per_tensor=per_tensor, weight_bits=weight_bits, skip=skip, in_float=in_float
    )
    config = RetrainConfig(layers=layers)
    config.selected(topology)
    return config
