"""``amctq fetch-model``: the official checkpoint, the sample's definition files, or a checkpoint from elsewhere."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from amctq.choices import FetchWhat
from amctq.download.local import check_given, copy_in
from amctq.download.partial import forget_partial
from amctq.download.source import Downloaded, Source, TransferOptions
from amctq.download.sums import Sums
from amctq.download.transfer import download
from amctq.errors import UsageError
from amctq.files import Artifact, OutputDirectory, writing
from amctq.networks.published import CHECKPOINTS, DEFINITIONS
from amctq.networks.registry import REGISTRY
from amctq.progress import OnEvent, Reporter, silent
from amctq.services.fetch_model_request import FetchModelRequest
from amctq.services.pinned_sums import PINS, read_pins, write_pins
from amctq.services.wanted_files import WantedFile, file_name, find_kept, name_of


@dataclass(frozen=True, kw_only=True)
class FetchedFile:
    """One file in the output directory.

    Attributes:
        artifact: its path, length and sum.
        what: "checkpoint" or "definition".
        url: where it came from; None for a file that was kept or given with ``from_file``.
        verified: which sum it was checked with, "published", "given" or "pinned"; None for an unverified file.
        kept: the file existed before with the right checksum.
        transferred: bytes that came over the network.
    """

    artifact: Artifact
    what: str
    url: str | None
    verified: str | None
    kept: bool
    transferred: int


@dataclass(frozen=True, kw_only=True)
class FetchModelResult:
    """The files that the command has fetched or kept.

    Attributes:
        request: the request.
        files: checkpoint first, then the definition files.
        warnings: the warnings of the run.
        seconds: wall time by file.
    """

    request: FetchModelRequest
    files: tuple[FetchedFile, ...]
    warnings: tuple[str, ...]
    seconds: Mapping[str, float]

    def data(self) -> dict[str, Any]:
        """The result, ready for JSON."""
        return {
            "model": self.request.model,
            "data": self.request.data.value,
            "insecure": self.request.insecure,
            "files": [
                {
                    "path": str(file.artifact.path),
                    "what": file.what,
                    "bytes": file.artifact.bytes,
                    "sha256": file.artifact.sha256,
                    "verified": file.verified,
                    "url": file.url,
                    "kept": file.kept,
                    "transferred_bytes": file.transferred,
                }
                for file in self.files
            ],
            "warnings": list(self.warnings),
            "timing": {"seconds": {name: round(value, 3) for name, value in self.seconds.items()}},
        }


def fetch_model(request: FetchModelRequest, on_event: OnEvent = silent) -> FetchModelResult:
    """Fetch files and check them. Existing files with the right checksums are kept.

    Raises:
        UsageError: options contradict each other, nothing is published for the model, or a file would be replaced.
        InputError: ``from_file`` is not a file, or the list of sums in the output directory is damaged.
        CheckError: a file is not the one expected.
        NetworkError: a file cannot be downloaded.
        WriteError: a file cannot be written.
    """
    reporter = Reporter(on_event)
    wanted = _wanted(request)
    if request.from_file is not None:
        check_given(request.from_file, option="--from-file")
    with OutputDirectory(request.output_dir, names=(PINS,), force=True) as output:
        pins = read_pins(output.path)
        wanted = [_pinned(item, pins, request, reporter) for item in wanted]
        _check_safety(wanted, request, reporter)
        kept = find_kept(wanted, output.path, force=request.force)
        files = []
        for item in wanted:
            if (sums := kept.get(item.name)) is not None:
                reporter.info(f"{item.name}: already there, and right")
                with writing(output.path):
                    forget_partial(output.path / item.name)
                files.append(_fetched(item, output.path / item.name, sums))
                continue

            def pin(sums: Sums, item: WantedFile = item) -> None:
                # Saved before the file appears, because the next run refuses a file without a known sum.
                if item.verified is None:
                    pins[item.name] = sums.sha256
                    write_pins(output, pins)

            got = _get(item, output.path / item.name, request, reporter, pin)
            files.append(_fetched(item, got.path, got.sums, got))
    for file in files:
        if file.verified is None:
            reporter.warn(
                f"{file.artifact.path.name}: unverified, because its checksum is not published; "
                f"its sum is now in {request.output_dir / PINS}, and the next run checks the file with it"
            )
    return FetchModelResult(
        request=request, files=tuple(files), warnings=tuple(reporter.warnings), seconds=dict(reporter.seconds)
    )


def _wanted(request: FetchModelRequest) -> list[WantedFile]:
    wanted = []
    if request.what is not FetchWhat.DEFINITION:
        wanted.append(_checkpoint(request))
    if request.what is not FetchWhat.CHECKPOINT:
        for name, source in DEFINITIONS.items():
            mirrored = source.mirrored(request.mirror)
            wanted.append(WantedFile(name=name, what="definition", source=mirrored, verified=None))
    names = [PINS, *(item.name for item in wanted)]
    if twice := [name for name in names if names.count(name) > 1]:
        message = f"this run would write {twice[0]} twice"
        raise UsageError(message, hint="give the checkpoint another name")
    return wanted


def _checkpoint(request: FetchModelRequest) -> WantedFile:
    """Choose the checkpoint and its addresses, with the published sum unless the user gives another file."""
    model = request.model.lower()
    if model not in REGISTRY:
        near = difflib.get_close_matches(model, REGISTRY, n=1)
        message = f"{request.model}: not a model that amctq knows ({', '.join(REGISTRY)})"
        raise UsageError(message, hint=f"did you mean {near[0]}?" if near else "choose one of these")
    published = CHECKPOINTS.get((model, request.data.value))
    own = [file_name(url) for url in request.url] or ([name_of(request.from_file)] if request.from_file else [])
    if published is None and not own:
        known = ", ".join(f"{name} --data {data}" for name, data in CHECKPOINTS)
        message = f"no checkpoint of {model} for {request.data.value} is published; there are: {known}"
        raise UsageError(message, hint="choose one of these, or give an address with --url")
    if published is not None:
        names = [file_name(url) for url in published.urls]
        by_hand = request.from_file is not None and request.sha256 is None and not request.allow_unverified
        if not own or by_hand or set(own) <= set(names):
            urls = request.url or published.urls
            sha256 = request.sha256 or published.sha256
            source = Source(urls=urls, sha256=sha256).mirrored(request.mirror)
            verified = "given" if request.sha256 else "published"
            return WantedFile(name=names[0], what="checkpoint", source=source, verified=verified)
    source = Source(urls=request.url, sha256=request.sha256).mirrored(request.mirror)
    return WantedFile(name=own[0], what="checkpoint", source=source, verified="given" if request.sha256 else None)


def _pinned(item: WantedFile, pins: Mapping[str, str], request: FetchModelRequest, reporter: Reporter) -> WantedFile:
    """Add the sum of the first download if no better sum is known; with --force, leave the file unchanged."""
    pinned = item.pinned(pins)
    if pinned is item or not request.force:
        return pinned
    reporter.warn(f"{item.name}: --force, so it may differ from the file whose sum is in {PINS}")
    return item


def _check_safety(wanted: list[WantedFile], request: FetchModelRequest, reporter: Reporter) -> None:
    if not request.insecure or request.from_file is not None:
        return
    for item in wanted:
        if item.verified is None and item.what != "definition" and not request.allow_unverified:
            message = f"--insecure: no sum is known that could verify {item.name}"
            raise UsageError(message, hint="pass its --sha256, or --allow-unverified if you accept the risk")
    reporter.warn("--insecure: the certificates of servers are NOT checked in this call")


def _get(
    item: WantedFile, target: Path, request: FetchModelRequest, reporter: Reporter, pin: Callable[[Sums], None]
) -> Downloaded:
    if request.from_file is not None and item.what == "checkpoint":
        return copy_in(
            item.source, request.from_file, target, option="--from-file", reporter=reporter, before_publish=pin
        )
    options = TransferOptions(
        retries=request.retries,
        timeout=request.timeout,
        retry_delay=request.retry_delay,
        insecure=request.insecure,
    )
    return download(item.source, target, options=options, reporter=reporter, before_publish=pin)


def _fetched(item: WantedFile, path: Path, sums: Sums, got: Downloaded | None = None) -> FetchedFile:
    return FetchedFile(
        artifact=Artifact(path=path, bytes=sums.bytes, sha256=sums.sha256),
        what=item.what,
        url=got.url if got else None,
        verified=item.verified,
        kept=got is None,
        transferred=got.transferred if got else 0,
    )
