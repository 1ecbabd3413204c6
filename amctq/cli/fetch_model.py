"""``amctq fetch-model``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from amctq.choices import FetchWhat, ModelData
from amctq.cli import options
from amctq.cli.options import INPUT, RUN, option
from amctq.cli.output import CommandResult, Output, running

if TYPE_CHECKING:
    from rich.console import RenderableType

COMMAND_CLASS = options.aliases(close_certificate_verify="insecure")


def fetch_model(
    model: options.ModelArgument = "resnet50",
    data: Annotated[
        ModelData, option("--data", panel=INPUT, help="What the checkpoint was trained on.")
    ] = ModelData.CIFAR10,
    what: Annotated[
        FetchWhat,
        option("--what", panel=INPUT, help="The checkpoint, the sample's four definition files, or both."),
    ] = FetchWhat.CHECKPOINT,
    url: Annotated[
        list[str],
        option("--url", panel=INPUT, metavar="URL", help="Another address of the checkpoint; repeatable."),
    ] = [],  # noqa: B006  # Typer copies it
    sha256: Annotated[
        str | None,
        option("--sha256", panel=INPUT, metavar="HEX", help="Of the checkpoint, instead of the published one."),
    ] = None,
    from_file: Annotated[
        Path | None,
        option("--from-file", panel=INPUT, metavar="FILE", help="The checkpoint, brought by hand: no network."),
    ] = None,
    mirror: options.Mirror = [],  # noqa: B006
    insecure: options.Insecure = False,
    allow_unverified: Annotated[
        bool,
        option("--allow-unverified", panel=RUN, help="With --insecure: even a file that nothing can be checked by."),
    ] = False,
    retries: options.Retries = 3,
    timeout: options.Timeout = 30,
    retry_delay: options.RetryDelay = 1,
    output_dir: options.OutputDir = Path("model"),
    force: options.Force = False,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """Get an official checkpoint or the sample's definition files: resumed, verified, with mirrors.

    A download that was broken off goes on where it stopped. Proxies (HTTPS_PROXY …) and SSL_CERT_FILE are honoured.

    Example: amctq fetch-model resnet50 --data cifar10
    """
    output = Output(command="fetch-model", as_json=as_json, quiet=quiet, verbose=verbose)
    with running(output):
        from amctq.services.fetch_model import FetchModelRequest
        from amctq.services.fetch_model import fetch_model as service

        request = FetchModelRequest(
            model=model,
            data=data,
            what=what,
            output_dir=output_dir,
            url=tuple(url),
            sha256=sha256,
            from_file=from_file,
            mirror=tuple(mirror),
            insecure=insecure,
            allow_unverified=allow_unverified,
            retries=retries,
            timeout=timeout,
            retry_delay=retry_delay,
            force=force,
        )
        result = service(request, output.event)
        data_ = result.data()
    artifacts = [file.artifact for file in result.files]
    output.result(CommandResult(data=data_, tables=lambda: _tables(data_), artifacts=artifacts))


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
