"""The request of ``amctq fetch-model``."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from amctq.choices import FetchWhat, ModelData
from amctq.download.address import checked_url
from amctq.download.source import checked_sum
from amctq.errors import UsageError
from amctq.services import request as shared
from amctq.services.option import INPUT, RUN, Option, Request


@dataclass(frozen=True, kw_only=True)
class FetchModelRequest(Request):
    """The request of ``amctq fetch-model``. Each field is the option of the same name; the option's help explains it.

    Attributes:
        url: addresses of the checkpoint instead of the published ones; they are tried in this order.
        force: replace files whose checksum is wrong or not known.

    Raises:
        UsageError: a value is out of its range, or two options contradict each other.
    """

    model: Annotated[
        str,
        Option(
            positional=True,
            metavar="MODEL",
            complete=shared.model_names,
            help="Name of the network, as in ptq --model.",
        ),
    ] = "resnet50"
    data: Annotated[ModelData, Option(INPUT, "Dataset that the checkpoint was trained on.")] = ModelData.CIFAR10
    what: Annotated[
        FetchWhat, Option(INPUT, "What to get: the checkpoint, the sample's four definition files, or both.")
    ] = FetchWhat.CHECKPOINT
    url: Annotated[tuple[str, ...], Option(INPUT, "Another address of the checkpoint; repeatable.", metavar="URL")] = (
        field(default=(), repr=False)
    )
    sha256: Annotated[
        str | None, Option(INPUT, "SHA-256 of the checkpoint, instead of the published one.", metavar="HEX")
    ] = None
    from_file: Annotated[
        Path | None, Option(INPUT, "Use this local copy of the checkpoint instead of a download.", metavar="FILE")
    ] = None
    mirror: Annotated[tuple[str, ...], shared.MIRROR] = field(default=(), repr=False)  # both may hold passwords
    insecure: Annotated[
        bool, Option(RUN, "Do not check the certificates of servers.", aliases=("close_certificate_verify",))
    ] = False
    allow_unverified: Annotated[bool, Option(RUN, "With --insecure: accept a file that has no checksum to verify.")] = (
        False
    )
    retries: Annotated[int, shared.RETRIES] = 3
    timeout: Annotated[float, shared.TIMEOUT] = 30
    retry_delay: Annotated[float, shared.RETRY_DELAY] = 1
    output_dir: Annotated[Path, shared.OUTPUT_DIR] = Path("model")
    force: Annotated[bool, shared.FORCE] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        for option, values in (("--url", self.url), ("--mirror", self.mirror)):
            for value in values:
                checked_url(value, option=option)
        if self.sha256 is not None:
            object.__setattr__(self, "sha256", checked_sum(self.sha256, option="--sha256", digits=64))
        if self.url and self.from_file is not None:
            message = "--url and --from-file contradict each other"
            raise UsageError(message, hint="give the one that the checkpoint comes from")
        given = {"--url": self.url, "--sha256": self.sha256, "--from-file": self.from_file}
        if self.what is FetchWhat.DEFINITION and (named := [name for name, value in given.items() if value]):
            message = f"{named[0]} is about the checkpoint, but --what definition does not get one"
            raise UsageError(message, hint="leave one of them out; mirrors of the definition files go in --mirror")
