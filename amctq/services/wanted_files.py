"""The files that fetch-model needs, and which of them are already in the output directory."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import unquote, urlsplit

from amctq.download.address import shown
from amctq.download.source import Source
from amctq.download.sums import Sums, sums_of
from amctq.errors import UsageError
from amctq.files import reading


@dataclass(frozen=True, kw_only=True)
class WantedFile:
    """A file to fetch.

    Attributes:
        name: file name in the output directory.
        what: "checkpoint" or "definition".
        source: its addresses and its known sums.
        verified: origin of its sum: "published", "given" or "pinned"; None without a sum.
    """

    name: str
    what: str
    source: Source
    verified: str | None

    def pinned(self, pins: Mapping[str, str]) -> WantedFile:
        """The same file with the sum of its first download, unless a better sum is known."""
        if self.verified is not None or self.name not in pins:
            return self
        return replace(self, source=replace(self.source, sha256=pins[self.name]), verified="pinned")


def file_name(url: str) -> str:
    """The file name at the end of an address.

    Raises:
        UsageError: the address does not end in a usable file name.
    """
    name = unquote(urlsplit(url).path).rpartition("/")[2]
    if not name or name.startswith(".") or not _listable(name):
        message = f"--url {shown(url)}: expected an address that ends in the name of a file"
        raise UsageError(message, hint="download it in another way, and pass it with --from-file")
    return name


def name_of(given: Path) -> str:
    """The name that a local file keeps.

    Raises:
        UsageError: a list of sums cannot hold it.
    """
    if not _listable(given.name):
        message = f"--from-file {given}: expected a name without control characters, of 200 bytes at most"
        raise UsageError(message, hint="give the file another name")
    return given.name


def _listable(name: str) -> bool:
    return not re.search(r"[\x00-\x1f\x7f]", name) and len(os.fsencode(name)) <= 200


def find_kept(wanted: Iterable[WantedFile], folder: Path, *, force: bool) -> dict[str, Sums]:
    """Find the files in ``folder`` that have the right sum: sums by name. These are not fetched again.

    Raises:
        UsageError: a file exists with a wrong sum, and must not be replaced. The message names all such files.
    """
    kept, refused = {}, []
    for item in wanted:
        path = folder / item.name
        if not os.path.lexists(path):
            continue
        if not path.is_file():
            message = f"{path} is not a regular file, and this run would write a file of that name"
            raise UsageError(message, hint="choose another --output-dir")
        if item.verified is None:
            refused.append(f"{path}: there is no sum to check it with")
            continue
        with reading(str(path)):
            sums = sums_of(path)
        if wrong := item.source.mismatch(sums):
            refused.append(f"{path}: {wrong}")
        else:
            kept[item.name] = sums
    if refused and not force:
        message = f"these files exist and would be replaced: {'; '.join(refused)}"
        raise UsageError(message, hint="pass --force to replace them, or choose another --output-dir")
    return kept
