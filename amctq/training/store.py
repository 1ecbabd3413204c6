"""Writes the checkpoints of a run, and finds the newest complete one."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from amctq.download.sums import sums_of
from amctq.errors import InputError
from amctq.files import Artifact, writing
from amctq.leftovers import clear_partials
from amctq.training.snapshot import DamagedSnapshotError, Snapshot, read_snapshot, write_snapshot

BEST = "best.ckpt"
_NUMBERED = re.compile(r"step-\d{8,}\.ckpt")


@dataclass(frozen=True, kw_only=True, eq=False)
class Found:
    """The snapshot that a run is resumed from.

    Attributes:
        path: of its file.
        snapshot: its content.
        damaged: newer files that are damaged.
    """

    path: Path
    snapshot: Snapshot
    damaged: tuple[Path, ...]


class CheckpointStore:
    """The folder ``checkpoints`` of a run. The run must hold its output directory.

    It has ``step-00000625.ckpt`` and so on, and ``best.ckpt``, the epoch with the highest top-1. A run that is resumed
    from any of them ends with the same bytes.

    Args:
        folder: made when the first checkpoint is written.
        keep: how many numbered files stay.
    """

    def __init__(self, folder: Path, *, keep: int) -> None:
        self.folder = folder
        self._keep = keep
        self._written: dict[Path, Artifact] = {}

    def files(self) -> tuple[Path, ...]:
        """All checkpoints in the folder, of any run, by name."""
        if not self.folder.is_dir():
            return ()
        return tuple(
            sorted(path for path in self.folder.iterdir() if path.name == BEST or _NUMBERED.fullmatch(path.name))
        )

    def artifacts(self) -> Iterator[Artifact]:
        """The checkpoints in the folder: those that this run has written as it wrote them, the others as they are."""
        for path in self.files():
            if path in self._written:
                yield self._written[path]
                continue
            with contextlib.suppress(OSError):  # removed in this moment, or not readable: it is not of this run
                sums = sums_of(path)
                yield Artifact(path=path, bytes=sums.bytes, sha256=sums.sha256)

    def begin(self, snapshot: Snapshot) -> Artifact:
        """Write the first checkpoint of a new run, then remove those of a former run.

        Raises:
            WriteError: the file system refuses; the former checkpoints are all kept.
        """
        with writing(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
        self.clear()
        artifact = self._write(self._numbered(snapshot), snapshot)
        for former in self.files():
            if former != artifact.path:
                former.unlink()
        return artifact

    def clear(self) -> None:
        """Remove incomplete files of a killed run."""
        clear_partials(self.folder)

    def save(self, snapshot: Snapshot) -> Artifact:
        """Write a checkpoint, then remove the oldest ones until ``keep`` are left.

        Raises:
            WriteError: the file system refuses; the former ones are all kept.
        """
        artifact = self._write(self._numbered(snapshot), snapshot)
        numbered = [path for path in self.files() if path.name != BEST]
        for old in numbered[: -self._keep]:
            old.unlink()
        return artifact

    def save_best(self, snapshot: Snapshot) -> Artifact:
        """Write ``best.ckpt``.

        Raises:
            WriteError: the file system refuses; the former one is kept.
        """
        return self._write(self.folder / BEST, snapshot)

    def newest(self) -> Found:
        """The complete snapshot with the most steps.

        Raises:
            InputError: there is none, or one cannot be read.
        """
        found: tuple[Path, Snapshot] | None = None
        damaged = []
        # Names hold the steps: the first complete numbered file is the newest of these, but best.ckpt may be newer.
        for path in sorted(self.files(), key=lambda path: (path.name != BEST, path.name), reverse=True):
            if found is not None and path.name != BEST:
                continue
            try:
                snapshot = read_snapshot(path)
            except DamagedSnapshotError:
                damaged.append(path)
                continue
            if found is None or snapshot.state.step > found[1].state.step:
                found = path, snapshot
        if found is None:
            message = f"--resume: no checkpoint to resume from in {self.folder}"
            if damaged:
                message += f" ({', '.join(path.name for path in damaged)} damaged)"
            raise InputError(message, hint="leave --resume out to start a new run, or give the --output-dir of the run")
        return Found(path=found[0], snapshot=found[1], damaged=tuple(damaged))

    def _write(self, path: Path, snapshot: Snapshot) -> Artifact:
        self._written[path] = write_snapshot(path, snapshot)
        return self._written[path]

    def _numbered(self, snapshot: Snapshot) -> Path:
        return self.folder / f"step-{snapshot.state.step:08d}.ckpt"
