"""Whether a record and a configuration can be of one run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from numpy.typing import NDArray

from amctq.quant.config import ActivationConfig, LayerConfig, QuantConfig
from amctq.quant.layers import QuantizableLayer, Topology
from amctq.quant.record import LayerRecord, QuantRecord


def disagreements(
    record: QuantRecord, config: QuantConfig, topology: Topology, arrays: Mapping[str, NDArray[Any]]
) -> Iterator[str]:
    """What a record and a configuration say differently, in words, in the order of execution.

    Args:
        record: with the network's names.
        config: of the same network.
        topology: of the network.
        arrays: values of its parameters.
    """
    recorded = {entry.name: entry for entry in record.layers}
    for layer in topology.layers:
        entry, configured = recorded.get(layer.name), config.enabled.get(layer.name)
        if entry is not None and configured is not None:
            yield from _of_layer(layer, entry, configured, arrays)
            if entry.skip_fusion and layer.batch_norm is not None and layer.name not in config.unfused:
                yield f"{layer.name} has skip_fusion in the record, and is not in skip_fusion_layers"
        elif entry is not None:
            yield f"{layer.name} is in the record, and the configuration leaves it in float"
        elif configured is not None:
            yield f"{layer.name} is not in the record, and the configuration quantizes it"


def _of_layer(
    layer: QuantizableLayer,
    entry: LayerRecord,
    config: LayerConfig[ActivationConfig],
    arrays: Mapping[str, NDArray[Any]],
) -> Iterator[str]:
    channels = layer.by_channel(arrays[layer.weight]).shape[0]
    scales, expected = len(entry.weight_scale), channels if config.weight.channel_wise else 1
    if scales != expected:
        said = str(config.weight.channel_wise).lower()
        yield f"{layer.name} has {scales} weight scales in the record, and channel_wise is {said}"
    bits = config.weight.bits
    if entry.weight_bits != bits:
        yield f"{layer.name} has weights of {entry.weight_bits} bits in the record, and num_bits is {bits}"
    if entry.activation.offset and not config.activation.asymmetric:
        yield f"{layer.name} has offset_d {entry.activation.offset} in the record, and asymmetric is false"
