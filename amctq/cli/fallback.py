"""What ``ptq --auto`` has found, for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from amctq.cli.measured import metric_of
from amctq.errors import listed

_NAMED = 8  # layers in the row; report.json has all


def fallback_row(report: Mapping[str, Any]) -> tuple[str, str]:
    """Which layers fall back, and what the tuning samples say of it."""
    found = report["fallback"]
    metric, tries = metric_of(found), len(found["tries"])
    ends = "" if found["drop_95"] is None else f" [{metric.ends(found['drop_95'])}]"
    levels: dict[str, list[str]] = {}
    for name, level in found["layers"].items():
        levels.setdefault("in float" if level == "float" else f"at {level} bits", []).append(name)
    layers = "; ".join(f"{listed(names, _NAMED)} {where}" for where, names in levels.items()) or (
        "no layer had to" if found["met"] else "no layer"
    )
    missed = "" if found["met"] else "the target is not met; the best found: "
    return (
        "fell back",
        f"{missed}{layers}: {100 * found['share_narrow']:.1f} % of the weights are as asked for, and "
        f"{found['samples']:,} training samples lose {metric.text(found['drop'])}{ends} "
        f"({tries} {'try' if tries == 1 else 'tries'})",
    )
