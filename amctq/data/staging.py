"""Writes a dataset to an output directory; its files are checked, counted and summed in the same pass."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from amctq.data.cifar import LAYOUT, RecordCounter, is_record_file
from amctq.data.manifest import MANIFEST, DataFile, Manifest
from amctq.download.sums import Summing
from amctq.files import OutputDirectory, writing

# In the order of publication: with the manifest first, the next run recognizes an incomplete set.
NAMES = (MANIFEST, *(f"{folder}/{name}" for name, folders in LAYOUT.items() for folder in folders))


class StagedSet:
    """A dataset that is being staged in ``output``, which must have ``NAMES`` among its names.

    Attributes:
        files: what has been staged, by name, ``folder/file``.
    """

    def __init__(self, output: OutputDirectory, advance: Callable[[int], None]) -> None:
        self.files: dict[str, DataFile] = {}
        self._output = output
        self._advance = advance  # called with the number of images so far
        self._images = 0

    def holds(self, name: str) -> bool:
        """Whether a file of LAYOUT has been staged."""
        return f"{LAYOUT[name][0]}/{name}" in self.files

    def path(self, name: str) -> Path:
        """Where a file of LAYOUT is staged."""
        return self._output.staged(f"{LAYOUT[name][0]}/{name}")

    def store(self, name: str, pieces: Iterable[bytes | memoryview]) -> None:
        """Stage one file of LAYOUT, in each of its folders.

        Raises:
            InputError: its records are damaged.
            WriteError: the file system refuses.
        """
        first, *others = (f"{folder}/{name}" for folder in LAYOUT[name])
        counter = RecordCounter(name=name) if is_record_file(name) else None
        summing = Summing(md5=False)
        with writing(self._output.path / first), self._output.staged(first).open("wb", buffering=0) as stream:
            for piece in self._counted(pieces, counter):
                summing.add(piece)
                stream.write(piece)
        if counter:
            counter.finish()
            self._images += counter.images
        sums = summing.sums()
        file = DataFile(
            bytes=sums.bytes,
            sha256=sums.sha256,
            images_per_class=tuple(counter.classes.tolist()) if counter else None,
        )
        self.files[first] = file
        for other in others:
            with writing(self._output.path / other):
                shutil.copyfile(self._output.staged(first), self._output.staged(other))
            self.files[other] = file

    def finish(self, *, origin: Mapping[str, str | int], synthetic: bool, classes: tuple[str, ...]) -> Manifest:
        """Stage the manifest of all files so far."""
        files = {name: self.files[name] for name in NAMES if name in self.files}
        manifest = Manifest(origin=origin, synthetic=synthetic, classes=classes, files=files)
        self._output.write(MANIFEST, manifest.to_json())
        return manifest

    def _counted(
        self, pieces: Iterable[bytes | memoryview], counter: RecordCounter | None
    ) -> Iterator[bytes | memoryview]:
        for piece in pieces:
            if counter:
                counter.update(piece)
                self._advance(self._images + counter.images)
            yield piece
