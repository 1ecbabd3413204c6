"""``amctq fetch-model``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import amctq
from amctq.cli.from_request import command
from amctq.cli.output import CommandResult, Output

if TYPE_CHECKING:
    from rich.console import RenderableType


@command(lambda: amctq.FetchModelRequest)
def fetch_model(make: Callable[[], amctq.FetchModelRequest], output: Output) -> CommandResult:
    """Download an official checkpoint or the sample's definition files, and verify them.

    An interrupted download continues where it stopped. Proxies (HTTPS_PROXY …) and SSL_CERT_FILE are used.

    Example: amctq fetch-model resnet50 --data cifar10
    """
    result = amctq.fetch_model(make(), output.event)
    data, artifacts = result.data(), [file.artifact for file in result.files]
    return CommandResult(data=data, tables=lambda: _tables(data), artifacts=artifacts)


def _tables(data: Mapping[str, Any]) -> list[RenderableType]:
    lines: list[RenderableType] = []
    for file in data["files"]:
        checked = {
            "published": "SHA-256 as published",
            "given": "SHA-256 as given",
            "pinned": "SHA-256 as the first time",
            None: "unverified",
        }[file["verified"]]
        came = "already there" if file["kept"] else f"{file['transferred_bytes']:,} transferred"
        if not file["kept"] and file["url"] is None:
            came = "copied"
        lines.append(f"{Path(file['path']).name}: {file['bytes']:,} bytes, {came}, {checked}")
    return lines
