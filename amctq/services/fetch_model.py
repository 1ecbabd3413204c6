"""``amctq fetch-model``: the official checkpoint, the sample's definition files, or a checkpoint from elsewhere."""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from amctq.choices import FetchWhat
from amctq.download.local import check_given, copy_in
from amctq.download.partial import forget_partial
from amctq.download.source import Downloaded, Source, TransferOptions
from amctq.download.sums import Sums, sums_of
from amctq.download.transfer import download
from amctq.errors import UsageError
from amctq.files import Artifact, OutputDirectory, reading, writing
from amctq.networks.published import CHECKPOINTS, DEFINITIONS
from amctq.networks.registry import REGISTRY
from amctq.progress import OnEvent, Reporter, silent
from amctq.services.fetch_model_request import FetchModelRequest
from amctq.services.pinned_sums import PINS, read_pins, write_pins


@dataclass(frozen=True, kw_only=True)
class FetchedFile:
    """One file that lies in its place now.

    Attributes:
        artifact: where, how long, its sum.
        what: "checkpoint" or "definition".
        url: where it came from, None for a file that was there or was brought by hand.
        verified: "published", "given" or "pinned", whichever sum it was checked by; None for an unverified one.
        kept: it was there already, and right.
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
    """What lies there now.

    Attributes:
        request: what was asked for.
        files: the files, in the order asked for.
        warnings: what the user was warned of.
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


@dataclass(frozen=True, kw_only=True)
class _Wanted:
    """A file to get: its name, what is known about it, and which sum says so."""

    name: str
    what: str
    source: Source
    verified: str | None


def fetch_model(request: FetchModelRequest, on_event: OnEvent = silent) -> FetchModelResult:
    """Get files, whole and right; those that are there and right are kept.

    Raises:
        UsageError: options contradict each other, nothing is published for the model, or a file would be replaced.
        InputError: ``from_file`` is no file, or the folder's own list of sums is damaged.
        CheckError: a file is not the one expected.
        NetworkError: a file cannot be had.
        WriteError: the file system refuses.
    """
    reporter = Reporter(on_event)
    wanted = _wanted(request)
    if request.from_file is not None:
        check_given(request.from_file, option="--from-file")
    with OutputDirectory(request.output_dir, names=(PINS,), force=True) as output:
        pins = read_pins(output.path)
        wanted = [_pinned(item, pins, request, reporter) for item in wanted]
        _check_safety(wanted, request, reporter)
        kept = _kept(wanted, output.path, force=request.force)

        files = []
        for item in wanted:
            if (sums := kept.get(item.name)) is not None:
                reporter.info(f"{item.name}: already there, and right")
                with writing(output.path):
                    forget_partial(output.path / item.name)
                files.append(_fetched(item, output.path / item.name, sums))
                continue

            def pin(sums: Sums, item: _Wanted = item) -> None:
                # Before the file appears: one without its sum could be neither trusted nor replaced next time.
                if item.verified is None:
                    pins[item.name] = sums.sha256
                    write_pins(output, pins)

            got = _get(item, output.path / item.name, request, reporter, pin)
            files.append(_fetched(item, got.path, got.sums, got))
    for file in files:
        if file.verified is None:
            reporter.warn(
                f"{file.artifact.path.name}: unverified, nobody publishes its sum; "
                f"{request.output_dir / PINS} keeps it, and it is checked by that next time"
            )
    return FetchModelResult(
        request=request, files=tuple(files), warnings=tuple(reporter.warnings), seconds=dict(reporter.seconds)
    )


def _wanted(request: FetchModelRequest) -> list[_Wanted]:
    wanted = []
    if request.what is not FetchWhat.DEFINITION:
        wanted.append(_checkpoint(request))
    if request.what is not FetchWhat.CHECKPOINT:
        for name, source in DEFINITIONS.items():
            mirrored = source.mirrored(request.mirror)
            wanted.append(_Wanted(name=name, what="definition", source=mirrored, verified=None))
    names = [PINS, *(item.name for item in wanted)]
    if twice := [name for name in names if names.count(name) > 1]:
        message = f"this run would write {twice[0]} twice"
        raise UsageError(message, hint="give the checkpoint another name")
    return wanted


def _checkpoint(request: FetchModelRequest) -> _Wanted:
    """The checkpoint, with its published sum unless it comes from elsewhere under another name."""
    model = request.model.lower()
    if model not in REGISTRY:
        near = difflib.get_close_matches(model, REGISTRY, n=1)
        message = f"{request.model}: not a model that amctq knows ({', '.join(REGISTRY)})"
        raise UsageError(message, hint=f"did you mean {near[0]}?" if near else "choose one of these")
    published = CHECKPOINTS.get((model, request.data.value))
    own = [_last_part(url) for url in request.url] or ([request.from_file.name] if request.from_file else [])
    if published is None and not own:
        known = ", ".join(f"{name} --data {data}" for name, data in CHECKPOINTS)
        message = f"no checkpoint of {model} for {request.data.value} is published; there are: {known}"
        raise UsageError(message, hint="choose one of these, or give an address with --url")
    if published is not None:
        names = [_last_part(url) for url in published.urls]
        by_hand = request.from_file is not None and request.sha256 is None and not request.allow_unverified
        if not own or by_hand or set(own) <= set(names):
            urls = request.url or published.urls
            sha256 = request.sha256 or published.sha256
            source = Source(urls=urls, sha256=sha256).mirrored(request.mirror)
            verified = "given" if request.sha256 else "published"
            return _Wanted(name=names[0], what="checkpoint", source=source, verified=verified)
    source = Source(urls=request.url, sha256=request.sha256).mirrored(request.mirror)
    return _Wanted(name=own[0], what="checkpoint", source=source, verified="given" if request.sha256 else None)


def _last_part(url: str) -> str:
    """The file name in an address."""
    name = unquote(urlsplit(url).path).rpartition("/")[2]
    if not name or name.startswith(".") or "\0" in name or len(os.fsencode(name)) > 200:
        message = f"--url {url}: expected an address that ends in the name of a file"
        raise UsageError(message, hint="download it by other means, and pass it with --from-file")
    return name


def _pinned(item: _Wanted, pins: Mapping[str, str], request: FetchModelRequest, reporter: Reporter) -> _Wanted:
    """The file with the sum that it had the first time, where nothing better is known."""
    if item.verified is not None or item.name not in pins:
        return item
    if request.force:
        reporter.warn(f"{item.name}: --force, so it may differ from the one whose sum {PINS} keeps")
        return item
    return replace(item, source=replace(item.source, sha256=pins[item.name]), verified="pinned")


def _check_safety(wanted: list[_Wanted], request: FetchModelRequest, reporter: Reporter) -> None:
    if not request.insecure or request.from_file is not None:
        return
    for item in wanted:
        if item.verified is None and item.what != "definition" and not request.allow_unverified:
            message = f"--insecure: nothing would say that {item.name} is what it should be"
            raise UsageError(message, hint="pass its --sha256, or --allow-unverified if you must")
    reporter.warn("--insecure: the certificates of servers are NOT checked in this call")


def _kept(wanted: list[_Wanted], folder: Path, *, force: bool) -> dict[str, Sums]:
    """Which files are there and right.

    Raises:
        UsageError: one is there, is not right, and may not be replaced; all such files are named.
    """
    kept, refused = {}, []
    for item in wanted:
        path = folder / item.name
        if not os.path.lexists(path):
            continue
        if not path.is_file():
            message = f"{path} is no regular file, and this run would write a file of that name"
            raise UsageError(message, hint="choose another --output-dir")
        if item.verified is None:
            refused.append(f"{path}: there is no sum to check it by")
            continue
        with reading(str(path)):
            sums = sums_of(path)
        if wrong := item.source.mismatch(sums):
            refused.append(f"{path}: {wrong}")
        else:
            kept[item.name] = sums
    if refused and not force:
        message = f"already there, and not to be replaced: {'; '.join(refused)}"
        raise UsageError(message, hint="pass --force to replace it, or choose another --output-dir")
    return kept


def _get(
    item: _Wanted, target: Path, request: FetchModelRequest, reporter: Reporter, pin: Callable[[Sums], None]
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


def _fetched(item: _Wanted, path: Path, sums: Sums, got: Downloaded | None = None) -> FetchedFile:
    return FetchedFile(
        artifact=Artifact(path=path, bytes=sums.bytes, sha256=sums.sha256),
        what=item.what,
        url=got.url if got else None,
        verified=item.verified,
        kept=got is None,
        transferred=got.transferred if got else 0,
    )
