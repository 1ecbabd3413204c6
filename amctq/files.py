"""Files that appear completely or not at all, in a directory that only one run holds at a time."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from amctq.disk import remedy
from amctq.durability import make_durable, make_names_durable
from amctq.errors import InputError, UsageError, WriteError
from amctq.folder_lock import FolderLock
from amctq.leftovers import STAGING as _STAGING
from amctq.leftovers import Leftover, watched
from amctq.regular_file import open_regular
from amctq.signals import signals_held

_REMEDY = "pass --force to replace these files, or choose another --output-dir"


@dataclass(frozen=True, kw_only=True)
class Artifact:
    """A file that a run has written.

    Attributes:
        path: its place.
        bytes: its length.
        sha256: of its content, lower-case hexadecimal.
    """

    path: Path
    bytes: int
    sha256: str


def blocks_of(path: Path) -> Iterator[bytes]:
    """Read a file in pieces of 1 MiB.

    Raises:
        OSError: as ``open_regular``.
    """
    with open_regular(path) as stream:
        while block := stream.read(1 << 20):
            yield block


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's content, lower-case hexadecimal, read in pieces of 1 MiB."""
    digest = hashlib.sha256()
    for block in blocks_of(path):
        digest.update(block)
    return digest.hexdigest()


@contextlib.contextmanager
def writing(target: Path) -> Iterator[None]:
    """Turn an error of the operating system into a WriteError that names ``target``."""
    try:
        yield
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        message = f"cannot write {target}: {reason}"
        raise WriteError(message, hint=remedy(error.errno, target)) from error


@contextlib.contextmanager
def reading(what: str) -> Iterator[None]:
    """Turn an error of the operating system into an InputError; ``what`` names the input."""
    try:
        yield
    except OSError as error:
        message = f"{what}: {error.strerror or error}"
        raise InputError(message, hint="check the path and its permissions") from error


def put_in_place(written: Path, final: Path) -> None:
    """Make a file durable, then give it its final name in the same directory.

    Raises:
        OSError: the file system refuses.
    """
    make_durable(written)
    written.replace(final)
    make_names_durable(final.parent)


def write_whole(final: Path, blocks: Iterable[bytes]) -> Artifact:
    """Write a file that appears completely or not at all, and replaces a former one. Only this run may use the folder.

    Raises:
        WriteError: the file system refuses; a former file stays as it was.
    """
    partial = final.with_name(f"{_STAGING}-{final.name}")
    digest = hashlib.sha256()
    size = 0
    with writing(final):
        try:
            with partial.open("wb") as stream:
                for block in blocks:
                    stream.write(block)
                    digest.update(block)
                    size += len(block)
            put_in_place(partial, final)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise
    return Artifact(path=final, bytes=size, sha256=digest.hexdigest())


class OutputDirectory:
    """The output directory of one run, as a context manager.

    On entry the directory is made and locked against other runs. It is refused if it holds a file that this run would
    write. Files are first written to a hidden folder inside it; ``publish`` makes them durable and renames them. If
    the block ends before that, the former files stay as they were, and a directory that this run has made is removed.

    Args:
        path: the directory.
        names: what this run will write: ``file`` or ``folder/file``. A new folder appears with all its files at once.
        force: replace files that exist.
        remedy: the hint for a user whose files would be overwritten.

    Raises:
        UsageError: ``path`` is a file, another run holds it, or files would be overwritten without ``force``.
        WriteError: the directory cannot be made or written.
    """

    def __init__(self, path: Path, *, names: Sequence[str], force: bool, remedy: str = _REMEDY) -> None:
        self.path = path
        self._remedy = remedy
        self._names = tuple(names)
        self._force = force
        self._made: list[Path] = []
        self._staging = path / _STAGING
        self._lock = FolderLock(path)
        self._watch = contextlib.ExitStack()

    def check(self) -> None:
        """Refuse what entering would refuse, but make nothing.

        Raises:
            UsageError: ``path`` is a file, or files would be overwritten without ``force``.
        """
        with writing(self.path):
            if self.path.exists() and not self.path.is_dir():
                message = f"the output directory {self.path} is a file"
                raise UsageError(message, hint="choose another --output-dir")
            self._refuse_to_overwrite()

    def leftover(self) -> Leftover:
        """What a run that enters now leaves if it is killed."""
        return Leftover(folders=(self._staging,), claimed=self.path, made=tuple(reversed(self._missing())))

    def tidy(self) -> None:
        """Remove what a killed run has left, if there is anything.

        Raises:
            UsageError: another run holds the directory.
            WriteError: it cannot be written.
        """
        if self._staging.exists():
            with self:
                pass

    def __enter__(self) -> OutputDirectory:
        self.check()  # before anything is made: a refused run must not even leave an empty folder
        try:
            with signals_held():
                self._watch.enter_context(watched(self.leftover()))
                self._claim()
            return self
        except BaseException:
            self._give_up()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        with signals_held():
            self._give_up()

    def claim(self, names: Sequence[str]) -> None:
        """Add to the names that a run would write; refuses them as entering does."""
        self._names = (*names, *self._names)
        self._refuse_to_overwrite()

    def extend(self, names: Sequence[str]) -> None:
        """Add to the names that this run will write, inside the block; refuses them as entering does."""
        self.claim(names)
        with writing(self.path):
            self._make_staging_folders()

    def staged(self, name: str) -> Path:
        """Where to write the file that will be published as ``name``."""
        if name not in self._names:
            message = f"{name} is not in the names of this output directory"
            raise ValueError(message)
        return self._staging / name

    def scratch(self) -> Path:
        """A folder for working files; it is removed when the run ends."""
        folder = self._staging / "scratch"
        with writing(self.path):
            folder.mkdir(exist_ok=True)
        return folder

    def write(self, name: str, content: bytes) -> None:
        """Stage ``content`` as ``name``."""
        with writing(self.path / name):
            self.staged(name).write_bytes(content)

    def publish(self, known: Mapping[str, str] | None = None) -> tuple[Artifact, ...]:
        """Make every staged file durable and put it in its final place, in the order of ``names``.

        Args:
            known: SHA-256 by name, where the run knows it already; the other files are read again.
        """
        known = known or {}
        staged = [name for name in self._names if self.staged(name).exists()]
        artifacts = []
        with writing(self.path):
            for name in staged:
                make_durable(self.staged(name))
                artifacts.append(
                    Artifact(
                        path=self.path / name,
                        bytes=self.staged(name).stat().st_size,
                        sha256=known.get(name) or sha256_of(self.staged(name)),
                    )
                )
            entries = dict.fromkeys(name if (self.path / _folder(name)).exists() else _folder(name) for name in staged)
            with signals_held(deliver=False):  # all or none, and then the run has done its work
                for entry in entries:
                    (self._staging / entry).replace(self.path / entry)
            for folder in dict.fromkeys(map(_folder, ["", *staged])):
                make_names_durable(self.path / folder)
        self._made.clear()
        return tuple(artifacts)

    def _refuse_to_overwrite(self) -> None:
        for folder in filter(None, map(_folder, self._names)):
            if os.path.lexists(self.path / folder) and not (self.path / folder).is_dir():
                message = f"{self.path / folder} is no folder, and this run would write into a folder of that name"
                raise UsageError(message, hint="choose another --output-dir")
        existing = [name for name in self._names if os.path.lexists(self.path / name)]
        folders = [name for name in existing if (self.path / name).is_dir()]
        if folders:
            message = f"{self.path / folders[0]} is a folder, and this run would write a file of that name"
            raise UsageError(message, hint="choose another --output-dir")
        if existing and not self._force:
            message = f"{self.path} already holds {', '.join(existing)}"
            raise UsageError(message, hint=self._remedy)

    def _claim(self) -> None:
        with writing(self.path):
            self._make_directories()
            self._lock.acquire(by="another amctq run", instead="--output-dir")
        # Again under the lock: a run that finished in between has published its files.
        self._refuse_to_overwrite()
        with writing(self.path):
            shutil.rmtree(self._staging, ignore_errors=True)  # what a killed run left
            self._staging.mkdir()
            self._make_staging_folders()

    def _make_staging_folders(self) -> None:
        for folder in filter(None, dict.fromkeys(map(_folder, self._names))):
            (self._staging / folder).mkdir(exist_ok=True)

    def _make_directories(self) -> None:
        for folder in reversed(self._missing()):
            with contextlib.suppress(FileExistsError):
                folder.mkdir()
                self._made.append(folder)

    def _missing(self) -> list[Path]:
        """The folders that this run has to make, the inner ones first."""
        return [folder for folder in (self.path, *self.path.parents) if not folder.exists()]

    def _give_up(self) -> None:
        if self._lock.is_held:
            shutil.rmtree(self._staging, ignore_errors=True)
            self._lock.release()
        for folder in reversed(self._made):
            with contextlib.suppress(OSError):  # not empty: another process uses it now
                folder.rmdir()
        self._watch.close()


def _folder(name: str) -> str:
    """The folder part of a name, empty for the output directory itself."""
    return name.rpartition("/")[0]
