"""What a quantized network is called in tables, by the widths of its weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def width_name(quantization: Mapping[str, Any]) -> str:
    """``INT8``; ``INT4 weights`` or ``INT4 and INT8 weights`` where some are narrower. Activations have 8 bits.

    Args:
        quantization: the section of the report.
    """
    widths = sorted({layer["weight_bits"] for layer in quantization["layers"]})
    names = " and ".join(f"INT{width}" for width in widths)
    return "INT8" if widths in ([], [8]) else f"{names} weights"


def with_spread(speed: Mapping[str, Any], key: str) -> str:
    """Images per second, with the slowest and the fastest run where they are far apart."""
    low, high = speed[f"{key}_range"]
    return f"{speed[key]:,.0f} ({low:,.0f} to {high:,.0f})" if speed["busy"] else f"{speed[key]:,.0f}"
