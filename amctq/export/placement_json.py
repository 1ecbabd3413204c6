"""placement.json: the scales of placement ``ort`` that AMCT's record cannot hold."""

from __future__ import annotations

import json
from collections.abc import Iterable

from amctq.graph.placement import PlacedActivations
from amctq.quant.integer import IntegerTable
from amctq.quant.record import LayerRecord

SCHEMA = 2


def dump_placement(
    activations: PlacedActivations, beyond: Iterable[LayerRecord], tables: Iterable[IntegerTable] = ()
) -> bytes:
    """UTF-8 JSON with the tensors and the layers that the record does not hold, in the order of execution.

    ``after`` is the last layer before the tensor; ``offset`` is the zero point in the int8 domain, as in the record.

    Args:
        activations: of the network.
        beyond: the layers that AMCT does not quantize, or not with these weight scales.
        tables: the embedding tables in integers.
    """
    data = {
        "schema": SCHEMA,
        "placement": activations.plan.placement.value,
        "tensors": [
            {"tensor": site.tensor, "after": site.like, "scale": qparams.scale, "offset": qparams.offset}
            for site, qparams in activations.further
        ],
        "layers": [
            {
                "layer": entry.name,
                "scale_d": entry.activation.scale,
                "offset_d": entry.activation.offset,
                "weight_bits": entry.weight_bits,
                "scale_w": [float(scale) for scale in entry.weight_scale],
            }
            for entry in beyond
        ],
        "tables": [
            {
                "table": item.table.name,
                "weight_bits": item.weight.bits,
                "scale_w": [float(scale) for scale in item.weight.scale],
            }
            for item in tables
        ],
    }
    return (json.dumps(data, indent=2, ensure_ascii=False) + "\n").encode()
