"""The only place that prints. stdout is data, stderr is talk."""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from amctq.errors import AmctqError, Stopped
from amctq.progress import Event, Notice, Progress
from amctq.signals import StopRequest

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.progress import Progress as Bars
    from rich.progress import TaskID

    from amctq.files import Artifact

ENVELOPE_SCHEMA = 1


@dataclass(frozen=True, kw_only=True)
class CommandResult:
    """What a command has to say.

    Attributes:
        data: for ``--json``.
        tables: for people, Rich renderables and plain lines; made only when they are asked for.
        artifacts: the files that were written.
        places: what people are shown of where these are; None for each of them.
        talk: lines to say on stderr in the end.
    """

    data: Mapping[str, Any]
    tables: Callable[[], Sequence[RenderableType]]
    artifacts: Sequence[Artifact] = ()
    places: Sequence[Path] | None = None
    talk: Sequence[str] = ()


@dataclass(kw_only=True)
class Output:
    """Where one command's result, progress and errors go.

    Attributes:
        command: its name.
        as_json: one JSON object on stdout, nothing else there.
        quiet: no talk but errors.
        verbose: details and tracebacks.
        failure_tables: what people see of the data of a failed check.
        stop: whether somebody wants the command to end.
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
            Stopped: somebody wants the command to end.
        """
        self.stop.check()
        if isinstance(event, Progress):
            self._progress(event)
        elif (
            not self.quiet
            and (event.level != "debug" or self.verbose)
            and not (self.as_json and event.level == "info" and not self.verbose)
        ):
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
            self.event(Notice(level="info", text=line))

    def error(self, error: AmctqError | Stopped | Exception) -> int:
        """Print an error, on stderr and with ``--json`` on stdout too; returns the exit code."""
        self.close()
        exit_code, code, message, hint, data = _describe(error)
        if data is not None and self.failure_tables is not None and not self.as_json:
            _print(self.failure_tables(data))
        if self.verbose and not isinstance(error, Stopped):
            sys.stderr.write("".join(traceback.format_exception(error)))
        self._line("error", message, "red")
        if hint:
            self._line("hint", hint, "cyan")
        if self.as_json:
            errors = [{"code": code, "message": message, "hint": hint}]
            self._envelope(exit_code=exit_code, data=data or {}, errors=errors)
        return exit_code

    def close(self) -> None:
        """Take the progress bar away."""
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
        envelope = {
            "schema": ENVELOPE_SCHEMA,
            "command": self.command,
            "status": "failed" if exit_code else "ok",
            "exit_code": exit_code,
            "data": data,
            "errors": list(errors),
            "artifacts": [{"path": str(item.path), "bytes": item.bytes, "sha256": item.sha256} for item in artifacts],
            "duration_s": round(time.perf_counter() - self._start, 3),
        }
        # To bytes and back: where Python reads paths as ASCII, a Chinese one holds surrogates. ASCII in the end.
        content = json.loads(json.dumps(envelope, ensure_ascii=False).encode(errors="surrogateescape"))
        sys.stdout.write(json.dumps(content) + "\n")
        sys.stdout.flush()

    def _say(self, notice: Notice) -> None:
        if notice.level == "warning":
            self._line("warning", notice.text, "yellow")
        else:
            self._line(None, notice.text, None)

    def _line(self, label: str | None, text: str, colour: str | None) -> None:
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
            # What is there from the beginning says nothing about the rate.
            named = f"{event.lane} {event.phase}".strip()
            task = self._bars.add_task(named, total=event.total, completed=event.done, note=event.note)
            self._tasks[event.lane] = event.phase, task
        self._bars.update(task, completed=event.done, total=event.total, note=event.note)


@contextlib.contextmanager
def running(output: Output) -> Iterator[None]:
    """Run a command's work: whatever ends it ends in the right message and exit code.

    While the work runs, nothing that it or a library prints can reach stdout; Ctrl-C and SIGTERM end it in good order.
    """
    try:
        with output.stop.listening(), _stdout_kept_clean():
            yield
    except (Exception, Stopped) as error:
        # A library may have turned the stop into an error of its own.
        cause = output.stop.stopped() if output.stop.stopped and not isinstance(error, Stopped) else error
        raise typer.Exit(output.error(cause)) from error
    finally:
        output.close()


def _describe(
    error: AmctqError | Stopped | Exception,
) -> tuple[int, str, str, str | None, dict[str, Any] | None]:
    """Exit code, stable code, message, hint and data of whatever ended a command."""
    if isinstance(error, AmctqError):
        return error.exit_code, error.code, error.message, error.hint, error.data
    if isinstance(error, Stopped):
        return error.exit_code, error.code, f"{error.code}; {error.left}", None, None
    message = f"a fault of amctq itself: {type(error).__name__}: {error}"
    hint = "run it again with --verbose, and report the traceback"
    return AmctqError.exit_code, AmctqError.code, message, hint, None


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
    """Let a Chinese path become escapes where a stream cannot show it, instead of an exception."""
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
    """Bars that are drawn ``frames`` times a second, which is what they cost."""
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
