"""Where amct_mindspore is called: a folder of its own, because it writes into the current directory."""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from amctq.errors import InputError, UnavailableError, first_line
from amctq.progress import Reporter
from amctq.runtime import graph_mode
from amctq.signals import signal_handlers_kept

LOG = "amct_mindspore.log"
DUMP_RECORD = "DUMP_AMCT_RECORD"
CONFIG, RECORD = "config.json", "calibration_record.txt"
_MODEL = "model"


class WorkDirectory:
    """One flow of calls to amct_mindspore, in MindSpore's graph mode.

    Used as a context manager. Inside, the current directory is a folder of its own, gone afterwards, and what the
    tool says on stdout goes to the log: stdout is data.

    Args:
        scratch: where that folder is made; None for the system's place.
        reporter: hears what the tool said, for ``--verbose``.

    Raises:
        UnavailableError: the tool cannot be imported.
    """

    def __init__(self, scratch: Path | None, reporter: Reporter) -> None:
        self._scratch, self._narrator = scratch, reporter
        self._stack = contextlib.ExitStack()
        self._said = io.StringIO()

    def __enter__(self) -> WorkDirectory:
        with contextlib.ExitStack() as stack:
            where = None if self._scratch is None else self._scratch.resolve()
            self.folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="amct-", dir=where)))
            stack.enter_context(_current_directory(self.folder))
            stack.enter_context(_environment({DUMP_RECORD: "1"}))
            stack.enter_context(contextlib.redirect_stdout(self._said))
            stack.enter_context(graph_mode())
            stack.enter_context(signal_handlers_kept())
            try:
                importlib.import_module("amct_mindspore")
            except Exception as error:
                message = f"amct_mindspore does not work here: {first_line(error)}"
                raise UnavailableError(message, hint="use --backend native; see also: amctq doctor") from error
            self.call("set_logging_level", print_level="info", save_level="info")  # the log file is this flow's own
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()
        for line in self._said.getvalue().splitlines():
            self._narrator.debug(f"amct_mindspore: {line}")

    @property
    def config(self) -> Path:
        """The configuration of this flow."""
        return self.folder / CONFIG

    def call(self, name: str, *arguments: Any, **named: Any) -> Any:
        """Call one function of the tool, ``name`` or ``module.name``.

        Raises:
            InputError: it raises; the message names the function and what it said.
        """
        try:
            place, _, own = f"amct_mindspore.{name}".rpartition(".")
            return getattr(importlib.import_module(place), own)(*arguments, **named)
        except Exception as error:
            message = f"amct_mindspore.{name}: {type(error).__name__}: {first_line(error)}"
            hint = "leave the layer that it names in float (--skip-layer), or use --backend native"
            raise InputError(message, hint=hint) from error

    @property
    def record_path(self) -> Path:
        """Where the tool leaves its record, and looks for one."""
        return self.folder / "amct_dump" / RECORD

    def record(self) -> bytes:
        """The calibration record that ``save_model`` has left.

        Raises:
            InputError: there is none.
        """
        return self._left(self.record_path, f"no record, though {DUMP_RECORD}=1 was set")

    def put_record(self, content: bytes) -> str:
        """Lay a record where the tool's initializer looks for it; gives its path."""
        self.record_path.parent.mkdir(exist_ok=True)
        self.record_path.write_bytes(content)
        return str(self.record_path)

    def model_name(self) -> str:
        """What to call the model: a path without suffix."""
        return str(self.folder / _MODEL)

    def model(self) -> bytes:
        """The AIR file that a save has left.

        Raises:
            InputError: there is none.
        """
        return self._left(self.folder / f"{_MODEL}.air", "no .air file")

    def log(self) -> bytes:
        """What the tool has logged; empty where it keeps its log elsewhere."""
        path = self.folder / "amct_log" / LOG
        return path.read_bytes() if path.is_file() else b""

    def _left(self, path: Path, missing: str) -> bytes:
        if not path.is_file():
            found = ", ".join(sorted(str(item.relative_to(self.folder)) for item in self.folder.rglob("*")))
            message = f"amct_mindspore has left {missing}; it has left {found or 'nothing'}"
            raise InputError(message, hint="this release differs from the manual: use --backend native, and report it")
        return path.read_bytes()


@contextlib.contextmanager
def _current_directory(folder: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


@contextlib.contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
