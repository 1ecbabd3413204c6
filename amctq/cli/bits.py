"""The widths that ``--weight-bits auto`` has chosen, for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from amctq.cli.measured import metric_of


def bits_rows(report: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """How many layers have which width, and what they take; nothing where the width was given."""
    if "bits" not in report:
        return
    bits = report["bits"]
    counts = sorted(Counter(bits["chosen"].values()).items())
    widths = ", ".join(f"{count} of {width} bits" for width, count in counts)
    text = f"{widths}; {bits['size']:,} bytes of weights, {bits['size'] / bits['float_size']:.4f} of float"
    if bits["max_size"] is not None:
        text += f" (at most {bits['max_size']:,})"
    drop = next(found["measured_drop"] for found in bits["tries"] if found["chosen"])
    if drop is not None and report["accuracy"] is not None:
        metric = metric_of(report["accuracy"])
        text += f"; {metric.label} drop {metric.difference(drop)}"
        text += f" on {bits['tuning_samples']:,} training samples, which is no accuracy"
    yield "bits by layer", text
