"""What the weights of each layer take at every width that it may get: packed, with their scales and the biases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from amctq.choices import WeightStorage
from amctq.errors import UsageError

if TYPE_CHECKING:
    from amctq.networks.float_network import FloatNetwork
    from amctq.quant.config import QuantConfig
    from amctq.quant.layers import QuantizableLayer

_NUMBER = 4  # bytes of a scale, a bias or a float weight


@dataclass(frozen=True, kw_only=True)
class LayerSizes:
    """The sizes of a network's weights.

    Attributes:
        by_width: by layer and width, bytes.
        tables: of the embedding tables, which always have 8 bits, and their scales.
        floats: of the same weights in float.
    """

    by_width: Mapping[str, Mapping[int, int]]
    tables: int
    floats: int

    @property
    def smallest(self) -> int:
        """The least bytes of all layers and tables."""
        return self.tables + sum(min(sizes.values()) for sizes in self.by_width.values())

    def of(self, widths: Mapping[str, int]) -> int:
        """Bytes of all layers and tables where each layer has this width."""
        return self.tables + sum(self.by_width[name][bits] for name, bits in widths.items())

    def limit(self, max_size: float) -> int:
        """``--max-size`` in bytes.

        Raises:
            UsageError: it is below what is possible.
        """
        limit = max_size if isinstance(max_size, int) else int(max_size * self.floats)
        if limit < self.smallest:
            message = (
                f"--max-size {max_size:g}{'' if isinstance(max_size, int) else f', {limit:,} bytes'}: the smallest "
                f"possible size is {self.smallest:,} bytes, {self.smallest / self.floats:.4f} of the float weights"
            )
            raise UsageError(message, hint=f"ask for --max-size {self.smallest} or more")
        return limit


def layer_sizes(
    network: FloatNetwork,
    quant: QuantConfig,
    widths: Sequence[int],
    *,
    storage: WeightStorage,
    in_pairs: bool,
    adds_biases: bool,
) -> LayerSizes:
    """The sizes of the layers that ``quant`` quantizes.

    Args:
        network: the float network.
        quant: its configuration.
        widths: to choose from.
        storage: INT4 stores up to 4 bits in 4, and all others in 8; else every width is packed.
        in_pairs: weights of 4 bits are only for layers where AMCT's deploy file can store two of them in a byte.
        adds_biases: a layer without a bias gets one, which makes up for its rounded weights.
    """
    topology, arrays = quant.selected(network.topology), network.graph.arrays
    found, floats = {}, 0
    for layer in topology.layers:
        weight = layer.by_channel(arrays[layer.weight])
        scales = len(weight) if quant.enabled[layer.name].weight.channel_wise else 1
        beside = _NUMBER * (scales + (len(weight) if _has_bias(layer, adds_biases=adds_biases) else 0))
        possible = [bits for bits in widths if bits != 4 or layer.packs_int4 or not in_pairs]
        by_size = {-(-weight.size * _stored(bits, storage) // 8) + beside: bits for bits in sorted(possible)}
        found[layer.name] = {bits: size for size, bits in by_size.items()}  # of equal sizes the widest
        floats += _NUMBER * weight.size
    tables = 0
    for table in topology.tables:
        rows = arrays[table.weight]
        tables += rows.size + _NUMBER * (len(rows) if quant.enabled_tables[table.name].weight.channel_wise else 1)
        floats += _NUMBER * rows.size
    return LayerSizes(by_width=found, tables=tables, floats=floats)


def _stored(bits: int, storage: WeightStorage) -> int:
    return bits if storage is not WeightStorage.INT4 else 4 if bits <= 4 else 8


def _has_bias(layer: QuantizableLayer, *, adds_biases: bool) -> bool:
    """Whether a layer has a bias in integers: its own, that of its BatchNorm, or one that corrects its weights."""
    from amctq.quant.layers import LayerKind

    if layer.bias is not None or layer.batch_norm is not None:
        return True
    return adds_biases and layer.channel_axis is not None and layer.kind is not LayerKind.MATMUL
