"""The beginning of a file, kept beside its final place with a note that says how to resume."""

from __future__ import annotations

import contextlib
import json
import stat
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO

from amctq.download import headers
from amctq.download.sums import Summing, Sums
from amctq.files import put_in_place, writing

_LONGEST_NOTE = 1 << 14


@dataclass(frozen=True, kw_only=True)
class Origin:
    """The file on a server that a partial file is the beginning of.

    Attributes:
        address: the digest of its address; the address itself may hold a token.
        identity: its known sum, if any.
        etag: from the server, if it sends one.
        last_modified: from the server, if it sends one.
        total: bytes of the whole file; None if the server does not say.
    """

    address: str
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

    def __init__(self, target: Path, *, identity: str | None, md5: bool, largest: int) -> None:
        self._target = target
        self.path, self._note, self._new_note = _places(target)
        self._md5 = md5
        self._summing = Summing(md5=md5)
        self._stream: BinaryIO | None = None
        self.origin = self._load(largest)
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
        with contextlib.suppress(OSError):  # the file is there: what is left is of no use, and does no harm
            forget_partial(self._target)

    def _load(self, largest: int) -> Origin | None:
        """What is noted of the partial file; None without a note, or if it is one that amctq cannot have written."""
        try:
            if not (_is_plain(self.path) and _is_plain(self._note)) or self._note.stat().st_size > _LONGEST_NOTE:
                return None
            origin = _origin(json.loads(self._note.read_bytes()))
            size = self.path.stat().st_size
        except (OSError, ValueError, TypeError, RecursionError):
            return None
        return origin if 0 < size <= min(largest, origin.total or largest) else None

    def _remember(self, origin: Origin) -> None:
        with writing(self._target):  # before the first byte: a partial file without a note cannot be used
            self._new_note.unlink(missing_ok=True)
            self._new_note.write_text(json.dumps(asdict(origin)), encoding="utf-8")
            self._new_note.replace(self._note)
        self.origin = origin


def forget_partial(target: Path) -> None:
    """Remove the partial file of ``target``, if there is one.

    Raises:
        OSError: it cannot be removed.
    """
    for path in _places(target):
        with contextlib.suppress(FileNotFoundError):
            path.unlink()


def _places(target: Path) -> tuple[Path, Path, Path]:
    """The partial file, its note, and the note while it is written."""
    partial, note, new = (target.with_name(f".{target.name}.partial{more}") for more in ("", ".json", ".json.new"))
    return partial, note, new


def _is_plain(path: Path) -> bool:
    """Whether it is a file: no link to one of somebody else, and no pipe, which would never end."""
    return stat.S_ISREG(path.lstat().st_mode)


def _origin(note: object) -> Origin:
    """The origin that a note describes.

    Raises:
        ValueError, TypeError: it describes none.
    """
    if not isinstance(note, dict):
        message = "no object"
        raise TypeError(message)
    origin = Origin(**note)
    texts = {origin.address, origin.identity or "", origin.etag or "", origin.last_modified or ""}
    valid = (
        all(isinstance(text, str) for text in texts)
        and headers.etag(origin.etag) == origin.etag
        and headers.date(origin.last_modified) == origin.last_modified
        and (origin.total is None or (type(origin.total) is int and origin.total > 0))
    )
    if not valid:
        message = "no valid value"
        raise ValueError(message)
    return origin
