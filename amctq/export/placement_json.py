"""placement.json: the scales of placement ``ort`` that AMCT's record cannot hold."""

from __future__ import annotations

import json

from amctq.graph.placement import PlacedActivations

SCHEMA = 1


def dump_placement(activations: PlacedActivations) -> bytes:
    """UTF-8 JSON with the tensors that the record does not hold, in the order of execution.

    ``after`` is the last layer before the tensor; ``offset`` is the zero point in the int8 domain, as in the record.
    """
    data = {
        "schema": SCHEMA,
        "placement": activations.plan.placement.value,
        "tensors": [
            {"tensor": site.tensor, "after": site.like, "scale": qparams.scale, "offset": qparams.offset}
            for site, qparams in activations.further
        ],
    }
    return (json.dumps(data, indent=2, ensure_ascii=False) + "\n").encode()
