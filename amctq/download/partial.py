"""The beginning of a file, kept beside its final place with a note that says how to resume."""

from __future__ import annotations

import contextlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO

from amctq.download.sums import Summing, Sums
from amctq.files import put_in_place, writing


@dataclass(frozen=True, kw_only=True)
class Origin:
    """The file on a server that a partial file is the beginning of.

    Attributes:
        url: its address.
        identity: its known sum, if any.
        etag: from the server, if it sends one.
        last_modified: from the server, if it sends one.
        total: bytes of the whole file; None if the server does not say.
    """

    url: str
    identity: str | None
    etag: str | None = None
    last_modified: str | None = None
    total: int | None = None

    @property
    def validator(self) -> str | None:
        """With this the server sends the rest only if the file is the same (RFC 9110, 13.1.5: no weak ETag)."""
        return self.etag if self.etag and not self.etag.startswith("W/") else self.last_modified


class Partial:
    """The partial file of ``target``, ``.<name>.partial``, as an earlier try or an earlier run left it.

    It is kept however the run ends. The run must hold the directory (``files.OutputDirectory``).

    Attributes:
        path: of the partial file.
        origin: what it is the beginning of; None while it is empty.
        pieced: it came in several responses, so a wrong sum may come from resuming.
    """

    def __init__(self, target: Path, *, identity: str | None, md5: bool) -> None:
        self._target = target
        self.path, self._note = _places(target)
        self._md5 = md5
        self._summing = Summing(md5=md5)
        self._stream: BinaryIO | None = None
        self.origin = self._load()
        self.pieced = self.origin is not None
        if self.origin is None or self.origin.identity != identity:
            self.discard()
        else:
            with writing(self.path):
                self._summing.add_file(self.path)

    @property
    def size(self) -> int:
        """Bytes received so far."""
        return self._summing.bytes

    @property
    def complete(self) -> bool:
        """Whether all bytes are there that the server has announced."""
        return self.origin is not None and self.origin.total == self.size

    def begin(self, origin: Origin) -> None:
        """Start with the first byte of ``origin``'s file."""
        self.discard()
        self._remember(origin)

    def resume(self, origin: Origin) -> None:
        """Take the rest from ``origin``."""
        self.pieced = True
        if origin != self.origin:
            self._remember(origin)

    def append(self, block: bytes) -> None:
        """Write the next bytes.

        Raises:
            WriteError: the file system refuses.
        """
        with writing(self._target):
            if self._stream is None:
                self._stream = self.path.open("ab")
            self._stream.write(block)
        self._summing.add(block)

    def close(self) -> None:
        """Write everything received to the file system."""
        if self._stream is not None:
            with writing(self._target):
                stream, self._stream = self._stream, None
                stream.close()

    def discard(self) -> None:
        """Remove what has been received."""
        self.close()
        with writing(self._target):
            forget_partial(self._target)
        self.origin, self.pieced = None, False
        self._summing = Summing(md5=self._md5)

    def sums(self) -> Sums:
        """Length and sums of what has been received."""
        return self._summing.sums()

    def publish(self) -> None:
        """Give the file its final name."""
        self.close()
        with writing(self._target):
            put_in_place(self.path, self._target)
            forget_partial(self._target)

    def _load(self) -> Origin | None:
        try:
            origin = Origin(**json.loads(self._note.read_text(encoding="utf-8")))
            size = self.path.stat().st_size
        except (OSError, ValueError, TypeError):  # no note, or an incomplete one of a killed run
            return None
        return origin if size > 0 and (origin.total is None or size <= origin.total) else None

    def _remember(self, origin: Origin) -> None:
        with writing(self._target):  # before the first byte: a partial file without a note cannot be used
            fresh = self._note.with_name(self._note.name + ".new")
            fresh.write_text(json.dumps(asdict(origin)), encoding="utf-8")
            fresh.replace(self._note)
        self.origin = origin


def forget_partial(target: Path) -> None:
    """Remove the partial file of ``target``, if there is one.

    Raises:
        OSError: it cannot be removed.
    """
    for path in _places(target):
        with contextlib.suppress(FileNotFoundError):
            path.unlink()


def _places(target: Path) -> tuple[Path, Path]:
    return target.with_name(f".{target.name}.partial"), target.with_name(f".{target.name}.partial.json")
