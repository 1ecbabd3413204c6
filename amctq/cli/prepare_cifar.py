"""``amctq prepare-cifar``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from amctq.cli import options
from amctq.cli.options import INPUT, option
from amctq.cli.output import CommandResult, Output, running

if TYPE_CHECKING:
    from rich.console import RenderableType

GENERATED = "Generated set"
COMMAND_CLASS = options.aliases()


def prepare_cifar(
    archive: Annotated[
        Path | None,
        option("--archive", panel=INPUT, metavar="FILE", help="cifar-10-binary.tar.gz on this machine."),
    ] = None,
    url: Annotated[
        str | None,
        option("--url", panel=INPUT, metavar="URL", help="Where to get it.  [default: the official address]"),
    ] = None,
    mirror: options.Mirror = [],  # noqa: B006  # Typer copies it
    sha256: Annotated[
        str | None,
        option("--sha256", panel=INPUT, metavar="HEX", help="Of an archive that is not the official one."),
    ] = None,
    md5: Annotated[
        str | None,
        option("--md5", panel=INPUT, metavar="HEX", help="The same.  [default: the official one]"),
    ] = None,
    synthetic: Annotated[
        bool, option("--synthetic", panel=GENERATED, help="Draw shapes and textures of ten classes instead.")
    ] = False,
    train_images: Annotated[
        int | None, option("--train-images", panel=GENERATED, metavar="N", help="[default: 10,000]")
    ] = None,
    test_images: Annotated[
        int | None, option("--test-images", panel=GENERATED, metavar="N", help="[default: 10,000]")
    ] = None,
    seed: Annotated[
        int | None,
        option("--seed", panel=GENERATED, metavar="N", help="The same seed, the same bytes.  [default: 1]"),
    ] = None,
    retries: options.Retries = 3,
    timeout: options.Timeout = 30,
    retry_delay: options.RetryDelay = 1,
    output_dir: options.OutputDir = Path("data"),
    force: options.Force = False,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """Get, verify and unpack CIFAR-10, as cifar-10-batches-bin (training) and cifar-10-verify-bin (test).

    What is there already with the right checksums is left alone. Without a network: --archive, or --synthetic.

    Example: amctq prepare-cifar --archive cifar-10-binary.tar.gz --output-dir data
    """
    output = Output(command="prepare-cifar", as_json=as_json, quiet=quiet, verbose=verbose)
    with running(output):
        from amctq.services.prepare_cifar import prepare_cifar as service
        from amctq.services.prepare_cifar_request import PrepareCifarRequest

        request = PrepareCifarRequest(
            archive=archive,
            url=url,
            mirror=tuple(mirror),
            output_dir=output_dir,
            sha256=sha256,
            md5=md5,
            synthetic=synthetic,
            train_images=train_images,
            test_images=test_images,
            seed=seed,
            retries=retries,
            timeout=timeout,
            retry_delay=retry_delay,
            force=force,
        )
        result = service(request, output.event)
        data = result.data()
    output.result(CommandResult(data=data, tables=lambda: _tables(data), artifacts=result.artifacts))


def _tables(data: Mapping[str, Any]) -> list[RenderableType]:
    images = {role: sum(counts) for role, counts in data["images_per_class"].items()}
    kind = "generated (not CIFAR-10)" if data["synthetic"] else "CIFAR-10"
    state = "already prepared" if data["already_prepared"] else "prepared"
    return [
        f"{kind}, {state} in {data['output_dir']}: {images['train']:,} training and {images['test']:,} test images of "
        f"{', '.join(data['classes'])}"
    ]
