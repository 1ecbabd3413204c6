"""The work directory of amct_mindspore. It needs one of its own, because it writes into the current directory."""

from __future__ import annotations

import contextlib
import importlib
import io
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from amctq.disk import check_room
from amctq.errors import InputError, UnavailableError, first_line
from amctq.files import writing
from amctq.leftovers import temporary_folder
from amctq.networks.float_network import FloatNetwork
from amctq.progress import Reporter
from amctq.runtime import graph_mode
from amctq.signals import signal_handlers_kept

LOG = "amct_mindspore.log"
DUMP_RECORD = "DUMP_AMCT_RECORD"
CONFIG, RECORD = "config.json", "calibration_record.txt"
_MODEL = "model"


@contextlib.contextmanager
def work_directory(scratch: Path | None, reporter: Reporter) -> Iterator[WorkDirectory]:
    """A work directory for one sequence of calls to amct_mindspore, in MindSpore's graph mode.

    Inside the block it is the current directory, and the tool's stdout goes to the log, because amctq's stdout is data.

    Args:
        scratch: where the folder is made; None for the system's temporary folder.
        reporter: gets the tool's stdout at the end, for ``--verbose``.

    Raises:
        UnavailableError: the tool cannot be imported.
    """
    stdout = io.StringIO()
    try:
        with (
            temporary_folder(scratch and scratch.resolve()) as folder,
            _current_directory(folder),
            _environment(DUMP_RECORD, "1"),
            contextlib.redirect_stdout(stdout),
            graph_mode(),
            signal_handlers_kept(),
        ):
            try:
                importlib.import_module("amct_mindspore")
            except Exception as error:
                message = f"amct_mindspore does not work here: {first_line(error)}"
                raise UnavailableError(message, hint="use --backend native; see also: amctq doctor") from error
            work = WorkDirectory(folder)
            work.call("set_logging_level", print_level="info", save_level="info")  # a new log file for these calls
            yield work
    finally:
        for line in stdout.getvalue().splitlines():
            reporter.debug(f"amct_mindspore: {line}")


@dataclass(frozen=True)
class WorkDirectory:
    """The calls to amct_mindspore and the files that it reads and writes.

    Attributes:
        folder: the work directory.
    """

    folder: Path

    @property
    def config(self) -> Path:
        """The configuration file."""
        return self.folder / CONFIG

    def call(self, name: str, *arguments: Any, **named: Any) -> Any:
        """Call one function of the tool, ``name`` or ``module.name``.

        Raises:
            InputError: the function raises; the message names it and the tool's message.
            WriteError: the disk is full.
        """
        try:
            place, _, own = f"amct_mindspore.{name}".rpartition(".")
            return getattr(importlib.import_module(place), own)(*arguments, **named)
        except Exception as error:
            with writing(self.folder):
                check_room(self.config)
            message = f"amct_mindspore.{name}: {type(error).__name__}: {first_line(error)}"
            hint = "leave the layer that it names in float (--skip-layer), or use --backend native"
            raise InputError(message, hint=hint) from error

    @property
    def record_path(self) -> Path:
        """Where the tool writes its record, and where it reads one."""
        return self.folder / "amct_dump" / RECORD

    def record(self) -> bytes:
        """The calibration record that ``save_model`` has written.

        Raises:
            InputError: there is no record.
        """
        return self._written(self.record_path, f"no record, though {DUMP_RECORD}=1 was set")

    def put_record(self, content: bytes) -> str:
        """Write a record where the tool's initializer reads it, and return its path."""
        self.record_path.parent.mkdir(exist_ok=True)
        self.record_path.write_bytes(content)
        return str(self.record_path)

    def model_name(self) -> str:
        """The path of the model, without suffix."""
        return str(self.folder / _MODEL)

    def model(self) -> bytes:
        """The AIR file that the tool has saved.

        Raises:
            InputError: there is no AIR file.
        """
        return self._written(self.folder / f"{_MODEL}.air", "no .air file")

    def log(self) -> bytes:
        """The tool's log; empty if the tool writes it elsewhere."""
        path = self.folder / "amct_log" / LOG
        return path.read_bytes() if path.is_file() else b""

    def _written(self, path: Path, missing: str) -> bytes:
        if not path.is_file():
            found = ", ".join(sorted(str(item.relative_to(self.folder)) for item in self.folder.rglob("*")))
            message = f"amct_mindspore has left {missing}; it has left {found or 'nothing'}"
            raise InputError(message, hint="this release differs from the manual: use --backend native, and report it")
        return path.read_bytes()


def rebuilt(network: FloatNetwork) -> Any:
    """A new cell with the same parameters, because AMCT changes the cell that it gets."""
    assert network.rebuild is not None
    return network.rebuild()


@contextlib.contextmanager
def _current_directory(folder: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


@contextlib.contextmanager
def _environment(name: str, value: str) -> Iterator[None]:
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        del os.environ[name]
        if before is not None:
            os.environ[name] = before
