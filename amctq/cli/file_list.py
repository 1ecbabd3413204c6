"""The written files: under their folders with their sizes on a terminal, and one path a line elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult

    from amctq.files import Artifact

_INDENT = 2


@dataclass(frozen=True, kw_only=True)
class FileList:
    """Files and folders that a command has written.

    Attributes:
        artifacts: the files.
        places: the paths to show, of which one may be a folder that stands for its files.
    """

    artifacts: Sequence[Artifact]
    places: Sequence[Path]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """A programs reads one path a line; a person sees each folder once, and the bytes."""
        from rich.table import Table
        from rich.text import Text

        if not console.is_terminal:
            yield from (Text(str(place)) for place in self.places)
            return
        sizes = [f"{self._bytes(place):,}" for place in self.places]
        width = max(map(len, sizes))
        table = Table.grid(padding=(0, 2, 0, 0), pad_edge=False)
        table.add_column(max_width=max(options.max_width - width - 2, 1), overflow="fold")
        table.add_column(width=width, justify="right")
        folder = None
        for place, size in sorted(zip(self.places, sizes, strict=True), key=self._folder_order):
            if place.parent != folder:
                folder = place.parent
                table.add_row(Text(f"{folder}/", style="bold"), "bytes" if not table.row_count else "")
            table.add_row(Text(" " * _INDENT + self._name(place)), size)
        yield table

    def _folder_order(self, item: tuple[Path, str]) -> int:
        """A folder comes where its first file does."""
        return [place.parent for place in self.places].index(item[0].parent)

    def _within(self, place: Path) -> list[Artifact]:
        return [item for item in self.artifacts if item.path == place or place in item.path.parents]

    def _bytes(self, place: Path) -> int:
        return sum(item.bytes for item in self._within(place))

    def _name(self, place: Path) -> str:
        files = self._within(place)
        if [item.path for item in files] == [place]:
            return place.name
        return f"{place.name}/ ({len(files)} files)"
