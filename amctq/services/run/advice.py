"""What to try when a run with narrow weights has failed a check."""

from __future__ import annotations

from typing import TYPE_CHECKING

from amctq.backends.base import QuantizedNetwork
from amctq.choices import AUTO, WEIGHT_BITS

if TYPE_CHECKING:
    from amctq.services.quantization_request import QuantizationRequest
    from amctq.services.run.result import RunResult


def wider_weights(result: RunResult) -> str:
    """How to get wider weights, for a hint that goes on behind it; empty where all have 8 bits."""
    if not isinstance(result.quantized, QuantizedNetwork):
        return ""
    widths = {entry.weight_bits for entry in result.quantized.record.layers}
    if min(widths, default=8) >= 8:
        return ""
    return f"{_source(result.plan.request, min(widths))}, "


def _source(request: QuantizationRequest, narrowest: int) -> str:
    *others, last = (str(width) for width in WEIGHT_BITS if width > narrowest)
    wider = f"{', '.join(others)} or {last}" if others else last
    if request.config is not None:
        return f"wider weights for some layers in {request.config} ({wider} bits)"
    if request.record is not None:
        return f"a record with wider weights ({wider} bits), or none"
    if getattr(request, "weight_bits", None) == AUTO:
        return "a larger --max-size, or a lower --max-drop with more --tuning-images"
    return f"--weight-bits {wider}, or wider weights for some layers by --layer-bits"
