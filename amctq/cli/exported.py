"""Sentences about exported files, for the commands that export."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def file_sentences(report: Mapping[str, Any]) -> list[str]:
    """Make sentences on the files compared with the QDQ graph, and on ATC."""
    lines = []
    for file in report["files"].values():
        same = file.get("agreement")
        if same is not None:
            top1 = f"top-1 {same['top1']:.2f} %, " if "top1" in same else ""
            lines.append(
                f"{file['name']}: {top1}the class of the QDQ graph on {same['percent']:.2f} % of "
                f"{same['images']:,} images"
            )
    return [*lines, *_atc_sentences(report["atc"])]


def _atc_sentences(atc: Mapping[str, Any] | None) -> list[str]:
    if atc is None:
        return []
    if atc["exit_code"] is None:
        return [f"for an NPU, in the folder of the deploy file: {atc['command']}"]
    if atc["om"] is not None:
        return [f"{atc['om']['name']}, {atc['om']['bytes']:,} bytes, by {atc['command']}"]
    return [f"{atc['command']}:", *(f"    {line}" for line in atc["log"])]
