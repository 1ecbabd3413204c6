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

from amctq.cli.command_lines import wrapped_command
from amctq.cli.consoles import console_of
from amctq.cli.envelope import envelope_line
from amctq.cli.faults import described
from amctq.cli.file_list import FileList
from amctq.cli.phases import Phases
from amctq.download.address import masked
from amctq.errors import AmctqError, Stopped, WriteError
from amctq.progress import Event, Notice, Progress
from amctq.signals import StopRequest

if TYPE_CHECKING:
    from rich.console import RenderableType

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
        next_commands: what to try next, for stderr: commands and what they are for.
    """

    data: Mapping[str, Any]
    tables: Callable[[], Sequence[RenderableType]]
    artifacts: Sequence[Artifact] = ()
    places: Sequence[Path] | None = None
    next_commands: Sequence[tuple[str, str]] = ()


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
    _phases: Phases | None = None

    def event(self, event: Event) -> None:
        """Show progress or a notice on stderr.

        Raises:
            Stopped: a signal has asked the command to stop.
        """
        self.stop.check()
        if isinstance(event, Notice):
            self._say(event)
        elif sys.stderr.isatty() and not (self.quiet or self.as_json):
            self._phases = self._phases or Phases()
            if isinstance(event, Progress):
                self._phases.progress(event)
            else:
                self._phases.ended(event)

    def result(self, result: CommandResult) -> None:
        """Print a result on stdout."""
        self.close()
        if self.as_json:
            self._envelope(exit_code=0, data=result.data, artifacts=result.artifacts)
        else:
            places = [artifact.path for artifact in result.artifacts] if result.places is None else result.places
            files = [FileList(artifacts=result.artifacts, places=places)] if places else []
            _print([*result.tables(), *files])
        self._suggest(result.next_commands)

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
        if self._phases is not None:
            self._phases.close()
            self._phases = None

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

    def _suggest(self, commands: Sequence[tuple[str, str]]) -> None:
        terminal = sys.stderr.isatty()
        lines = [*[""] * terminal, "next:"] if commands else []
        for command, purpose in commands:
            if terminal:
                lines += wrapped_command(command, purpose, console_of(sys.stderr).width)
            else:
                lines.append(f"  {command}  # {purpose}")
        for line in lines:
            self._say(Notice(level="info", text=line))

    def _line(self, label: str | None, text: str, colour: str | None) -> None:
        text = text.translate(_CONTROLS)
        if not sys.stderr.isatty():
            typer.echo(f"{label}: {text}" if label else text, err=True)
            return
        from rich.text import Text

        line = Text.assemble((f"{label}: ", f"bold {colour}"), text) if label else Text(text)
        (self._phases or Phases()).say(line)


@contextlib.contextmanager
def running(output: Output) -> Iterator[None]:
    """Run a command's work, and turn every error into its message and exit code.

    Meanwhile, whatever the work or a library prints goes to stderr; Ctrl-C and SIGTERM stop the work cleanly.
    """
    try:
        with output.stop.listening(), _stdout_kept_clean(), contextlib.closing(output):
            # Closed inside: the bars keep what sys.stdout was when they began, and put that back.
            yield
    except BaseException as error:
        # A library may have turned the stop into another error.
        cause = output.stop.stopped() if output.stop.stopped and not isinstance(error, Stopped) else error
        raise typer.Exit(output.error(cause)) from error


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
    """Print the parts of a result on stdout: apart and wrapped at words on a terminal, else in plain lines."""
    console = console_of(sys.stdout)
    for number, item in enumerate(items):
        if number and console.is_terminal and not isinstance(item, str):
            console.print()
        console.print(item, soft_wrap=not console.is_terminal)
