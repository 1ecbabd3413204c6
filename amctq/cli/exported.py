"""Sentences about exported files, for the commands that export."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from amctq.cli.measured import metric_of


def file_sentences(report: Mapping[str, Any]) -> list[str]:
    """Make sentences on the files compared with the QDQ graph, and on ATC."""
    lines = []
    for file in report["files"].values():
        same = file.get("agreement")
        if same is not None:
            metric = None if report["accuracy"] is None else metric_of(report["accuracy"])
            score = "" if metric is None else f"{metric.said(same[metric.key])}, "
            if metric is None or metric.key == "top1":
                same_as = f"the class of the QDQ graph on {same['percent']:.2f} % of {same['images']:,} images"
            else:
                same_as = f"{same['mean_difference']:.1e} of the largest value from the QDQ graph in the mean"
            lines.append(f"{file['name']}: {score}{same_as}")
    return [*lines, *_atc_sentences(report["atc"])]


def _atc_sentences(atc: Mapping[str, Any] | None) -> list[str]:
    if atc is None:
        return []
    if atc["exit_code"] is None:
        return [f"for an NPU, in the folder of the deploy file: {atc['command']}"]
    if atc["om"] is not None:
        return [f"{atc['om']['name']}, {atc['om']['bytes']:,} bytes, by {atc['command']}"]
    return [f"{atc['command']}:", *(f"    {line}" for line in atc["log"])]
