"""The only module that prints: data on stdout; progress, messages and errors on stderr."""

from __future__ import annotations

import contextlib
import io
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from amctq.cli.envelope import envelope_line
from amctq.cli.faults import described
from amctq.download.address import masked
from amctq.errors import AmctqError, Stopped, WriteError
from amctq.progress import Event, Notice, Progress
from amctq.signals import StopRequest

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.progress import Progress as Bars
    from rich.progress import TaskID

    from amctq.files import Artifact

_LONGEST = 4000  # characters of a message; a name in a damaged file may have a million
# Control characters in a message, from a name in a file, must not reach a terminal.
_CONTROLS = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160)) if chr(code) not in "\t\n"}


@dataclass(frozen=True, kw_only=True)
class CommandResult:
    """The result of a command, ready for output.

    Attributes:
        data: for ``--json``.
        tables: makes the output without ``--json``: Rich renderables and plain lines.
        artifacts: the written files.
        places: paths shown without ``--json``; None means the path of each artifact.
        talk: lines for stderr after the result.
    """

    data: Mapping[str, Any]
    tables: Callable[[], Sequence[RenderableType]]
    artifacts: Sequence[Artifact] = ()
    places: Sequence[Path] | None = None
    talk: Sequence[str] = ()


@dataclass(kw_only=True)
class Output:
    """The output of one command: its result, progress and errors.

    Attributes:
        command: name of the command.
        as_json: print one JSON object on stdout, and nothing else there.
        quiet: print only errors on stderr.
        verbose: print details and tracebacks.
        failure_tables: makes the tables that are shown for the data of a failed check.
        stop: whether a signal has asked the command to stop.
    """

    command: str
    as_json: bool = False
    quiet: bool = False
    verbose: bool = False
    failure_tables: Callable[[Mapping[str, Any]], Sequence[RenderableType]] | None = None
    stop: StopRequest = field(default_factory=StopRequest)
    _start: float = field(default_factory=time.perf_counter)
    _bars: Bars | None = None
    _unit: str = ""
    _tasks: dict[str, tuple[str, TaskID]] = field(default_factory=dict)

    def event(self, event: Event) -> None:
        """Show progress or a notice on stderr.

        Raises:
            Stopped: a signal has asked the command to stop.
        """
        self.stop.check()
        if isinstance(event, Progress):
            self._progress(event)
        else:
            self._say(event)

    def result(self, result: CommandResult) -> None:
        """Print a result on stdout."""
        self.close()
        if self.as_json:
            self._envelope(exit_code=0, data=result.data, artifacts=result.artifacts)
        else:
            places = [artifact.path for artifact in result.artifacts] if result.places is None else result.places
            _print([*result.tables(), *map(str, places)])
        for line in result.talk:
            self._say(Notice(level="info", text=line))

    def error(self, error: BaseException) -> int:
        """Print an error, on stderr and with ``--json`` on stdout too; returns the exit code.

        If stdout cannot be written, that is told too, and decides the exit code.
        """
        self.close()
        reported = described(error)
        if self.verbose and not isinstance(reported, Stopped):
            sys.stderr.write(masked("".join(traceback.format_exception(error))))
        try:
            self._report(reported)
        except (OSError, WriteError) as unwritten:
            reported = described(unwritten)
            self._line("error", _parts(reported)[0], "red")
        return reported.exit_code

    def _report(self, error: AmctqError | Stopped) -> None:
        message, hint, data = _parts(error)
        if data is not None and self.failure_tables is not None and not self.as_json:
            _print(self.failure_tables(data))
        self._line("error", message, "red")
        if hint:
            self._line("hint", hint, "cyan")
        if self.as_json:
            errors = [{"code": error.code, "message": message, "hint": hint}]
            self._envelope(exit_code=error.exit_code, data=data or {}, errors=errors)

    def close(self) -> None:
        """Remove the progress bar."""
        if self._bars is not None:
            self._bars.stop()
            self._bars = None
            self._tasks.clear()

    def _envelope(
        self,
        *,
        exit_code: int,
        data: Mapping[str, Any],
        errors: Sequence[Mapping[str, Any]] = (),
        artifacts: Sequence[Artifact] = (),
    ) -> None:
        seconds = time.perf_counter() - self._start
        # Made whole before the first byte is written: a second object must not follow half of one.
        line = envelope_line(self.command, exit_code, data, errors, artifacts, seconds)
        sys.stdout.write(line)
        sys.stdout.flush()

    def _say(self, notice: Notice) -> None:
        if self.quiet or (notice.level == "debug" and not self.verbose):
            return
        if self.as_json and notice.level == "info" and not self.verbose:
            return
        if notice.level == "warning":
            self._line("warning", masked(notice.text), "yellow")
        else:
            self._line(None, masked(notice.text), None)

    def _line(self, label: str | None, text: str, colour: str | None) -> None:
        text = text.translate(_CONTROLS)
        if self._bars is not None:
            prefix = f"[{colour}]{label}:[/] " if label else ""
            from rich.markup import escape

            self._bars.console.print(prefix + escape(text), soft_wrap=True, highlight=False)
            return
        shown = f"{label}: " if label else ""
        if label and sys.stderr.isatty() and "NO_COLOR" not in os.environ:
            shown = typer.style(f"{label}:", fg=colour, bold=True) + " "
        typer.echo(shown + text, err=True)

    def _progress(self, event: Progress) -> None:
        if self.quiet or self.as_json or not sys.stderr.isatty():
            return
        unit = "bytes" if event.unit == "bytes" else ""
        if self._bars is None or self._unit != unit:
            self.close()
            self._bars, self._unit = _bars(unit, 2 if event.lane else 10), unit
            self._bars.start()
        phase, task = self._tasks.get(event.lane, ("", None))
        if task is None or phase != event.phase:
            if task is not None:
                self._bars.remove_task(task)
            # Work that was done before the start must not count for the rate.
            named = f"{event.lane} {event.phase}".strip()
            task = self._bars.add_task(named, total=event.total, completed=event.done, note=event.note)
            self._tasks[event.lane] = event.phase, task
        self._bars.update(task, completed=event.done, total=event.total, note=event.note)


@contextlib.contextmanager
def running(output: Output) -> Iterator[None]:
    """Run a command's work, and turn every error into its message and exit code.

    Meanwhile, whatever the work or a library prints goes to stderr; Ctrl-C and SIGTERM stop the work cleanly.
    """
    try:
        with output.stop.listening(), _stdout_kept_clean():
            yield
    except BaseException as error:
        # A library may have turned the stop into another error.
        cause = output.stop.stopped() if output.stop.stopped and not isinstance(error, Stopped) else error
        raise typer.Exit(output.error(cause)) from error
    finally:
        output.close()


def _parts(error: AmctqError | Stopped) -> tuple[str, str | None, dict[str, Any] | None]:
    """Message, hint and data of an error."""
    if isinstance(error, Stopped):
        return f"{error.code}; {error.left}", None, None
    message = masked(error.message)
    if len(message) > _LONGEST:
        message = f"{message[:_LONGEST]} … ({len(message):,} characters)"
    return message, error.hint and masked(error.hint), error.data


@contextlib.contextmanager
def _stdout_kept_clean() -> Iterator[None]:
    """Send what libraries print, from Python or from C++, to stderr."""
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)


def never_fail_to_encode() -> None:
    """Print characters that a stream cannot encode as escapes, for example in Chinese paths."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _print(items: Sequence[RenderableType]) -> None:
    """Print tables, and lines that are not wrapped, on stdout."""
    from rich.console import Console

    console = Console(file=sys.stdout, highlight=False)
    for item in items:
        console.print(item, soft_wrap=isinstance(item, str), markup=False)


def _bars(unit: str, frames: int) -> Bars:
    """Make progress bars that are drawn ``frames`` times a second; drawing takes CPU time."""
    from rich import progress
    from rich.console import Console

    if unit == "bytes":
        amount = [progress.DownloadColumn(), progress.TransferSpeedColumn()]
    else:
        amount = [progress.MofNCompleteColumn()]
    return progress.Progress(
        progress.TextColumn("{task.description:<16}"),
        progress.BarColumn(),
        *amount,
        progress.TimeRemainingColumn(),
        progress.TextColumn("{task.fields[note]}"),
        console=Console(stderr=True),
        transient=True,
        refresh_per_second=frames,
    )
