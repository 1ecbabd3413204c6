"""What the summaries of all runs have: a verdict in front, the layers, and checks, warnings and time at the end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from amctq.cli.blocks import Verdict
from amctq.services.run.verdict import speed_change


def verdict_of(report: Mapping[str, Any]) -> Verdict:
    """The verdict of the report, with the speed, which only this run has."""
    verdict, speed = report["verdict"], report["timing"].get("images_per_second")
    behind = "" if speed is None else f", {speed_change(speed['ratio'])}"
    return Verdict(text=verdict["text"] + behind, passed=verdict["passed"])


def layers_row(report: Mapping[str, Any]) -> tuple[str, str]:
    """How many layers are quantized, how, and how many are not."""
    quantization = report["quantization"]
    pools = f" and {len(quantization['pools'])} average pools" if quantization.get("pools") else ""
    widths = sorted({layer["weight_bits"] for layer in quantization["layers"]})
    bits = f" with weights of {' and '.join(map(str, widths))} bits" if widths else ""
    return (
        "layers",
        f"{len(quantization['layers'])}{pools} quantized{bits}, {len(quantization['left_in_float'])} left in float; "
        f"placement {quantization['placement']}",
    )


def closing_rows(report: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What every run ends with: its checks, its warnings and its time."""
    checks, warnings = report["checks"], report["warnings"]
    failed = [check for check in checks if not check["passed"]]
    yield from (("check failed", f"{check['name']}: {check['detail']}") for check in failed)
    yield "checks", f"{len(checks) - len(failed)} of {len(checks)} passed"
    if warnings:
        yield "warnings", f"{len(warnings)}: see stderr, or warnings in the report"
    yield "time", f"{sum(report['timing']['seconds'].values()):.1f} s on {report['environment']['device']}"
