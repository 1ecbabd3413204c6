"""The phases of a run on a terminal: a bar while one runs, and a line with its time when it has ended."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from amctq.cli.consoles import console_of
from amctq.progress import Ended, Progress

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress as Bars
    from rich.progress import TaskID
    from rich.text import Text

_NAME = 32  # columns for the name of a phase
_TIME = 12  # for its seconds
_BESIDE = 52  # what stands beside a bar
_FRAMES, _FRAMES_OF_MANY = 10, 2  # a second; drawing takes CPU time


@dataclass(kw_only=True)
class Phases:
    """Shows the phases on stderr, which must be a terminal."""

    _bars: Bars | None = None
    _unit: str = ""
    _tasks: dict[str, tuple[str, TaskID]] = field(default_factory=dict)
    _any_ended: bool = False

    def progress(self, event: Progress) -> None:
        """Move the bar of a phase, or begin one; parallel processes have one each."""
        unit = "bytes" if event.unit == "bytes" else ""
        if self._bars is None or self._unit != unit:
            self._stop()
            self._bars, self._unit = _bars(unit, _FRAMES_OF_MANY if event.lane else _FRAMES), unit
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

    def ended(self, event: Ended) -> None:
        """Leave a line for a phase, in the place of its bar."""
        from rich.cells import cell_len
        from rich.text import Text

        phase, task = self._tasks.get("", ("", None))
        if self._bars is not None and task is not None and phase == event.phase:
            self._bars.remove_task(task)
            del self._tasks[""]
        width = min(_NAME, max(self.console.width - _TIME, 1))
        blanks = " " * (width - cell_len(event.phase))
        self._any_ended = True
        self.say(Text.assemble(event.phase, blanks, (f"{event.seconds:,.1f} s".rjust(_TIME), "cyan")))

    def say(self, line: Text) -> None:
        """Print a line above the bars; it is wrapped at words."""
        self.console.print(line)

    @property
    def console(self) -> Console:
        """The console of the bars, or one for stderr."""
        return console_of(sys.stderr) if self._bars is None else self._bars.console

    def close(self) -> None:
        """Remove the bars, and set off the phases from what follows."""
        self._stop()
        if self._any_ended:
            self.console.print()
            self._any_ended = False

    def _stop(self) -> None:
        if self._bars is not None:
            self._bars.stop()
            self._bars = None
            self._tasks.clear()


def _bars(unit: str, frames: int) -> Bars:
    """Make progress bars that are drawn ``frames`` times a second, no wider than the terminal."""
    from rich import progress

    if unit == "bytes":
        amount = [progress.DownloadColumn(), progress.TransferSpeedColumn()]
    else:
        amount = [progress.MofNCompleteColumn()]
    console = console_of(sys.stderr)
    return progress.Progress(
        progress.TextColumn("{task.description:<16}"),
        progress.BarColumn(min(40, max(10, console.width - _BESIDE))),
        *amount,
        progress.TimeRemainingColumn(),
        progress.TextColumn("{task.fields[note]}"),
        console=console,
        transient=True,
        refresh_per_second=frames,
    )
