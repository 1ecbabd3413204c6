"""The reports of a process of a launch to its supervisor: JSON lines, in one file for each process.

    {"event": "start", "guard": 812, "pid": 815, "time": 93.1}
    {"event": "progress", "phase": "training", "done": 12, "total": 90, "unit": "steps", "note": "…", "figures": {…}}
    {"event": "ended", "phase": "training", "seconds": 12.4}
    {"event": "notice", "level": "info", "text": "…"}
    {"event": "error", "code": "bad-input", "message": "…", "hint": "…", "data": null}
    {"event": "result", "artifacts": [{"path": "…", "bytes": 1, "sha256": "…"}]}
    {"event": "end", "exit_code": 3, "time": 95.0}

``exit_code`` is negative for a signal; ``time`` is from a clock that all processes of a machine share.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


class StatusWriter:
    """Appends lines. Several processes may write to one file; each line stays whole.

    Args:
        path: of the file.
    """

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)

    def tell(self, event: str, **what: Any) -> None:
        """Append one line."""
        os.write(self._file, (json.dumps({"event": event, **what}) + "\n").encode())


class StatusReader:
    """Returns each line of a file once.

    Args:
        path: of the file, which may not exist yet.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._done = 0

    def new(self) -> list[dict[str, Any]]:
        """The complete lines since the last call."""
        try:
            if self._path.stat().st_size <= self._done:
                return []
            with self._path.open("rb") as stream:
                stream.seek(self._done)
                whole = stream.read().rpartition(b"\n")[0]
        except FileNotFoundError:
            return []
        self._done += len(whole) + 1 if whole else 0
        return [item for item in map(_item, whole.splitlines()) if item is not None]


def has_ended_well(path: Path) -> bool:
    """Whether a file is that of a process that has ended with exit code 0."""
    return any(line["event"] == "end" and line.get("exit_code") == 0 for line in StatusReader(path).new())


def _item(line: bytes) -> dict[str, Any] | None:
    """The object of a line; None for half of one, which a full disk leaves."""
    try:
        item = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return item if isinstance(item, dict) and "event" in item else None


@dataclass(kw_only=True, eq=False)
class ProcessState:
    """What is known of a process of a launch.

    Attributes:
        name: ``rank 1`` or ``scheduler``.
        log: the file that its output goes to.
        guard: process id of its guard, whose process group is its own; None before the start.
        pid: its process id.
        phase: what it is doing.
        done: units of the phase that are done.
        step: the last training step that it has done; None before the first.
        trained: it has done a training step itself, not only begun at that of a checkpoint.
        figures: further figures of its last progress, such as loss and images_per_second.
        exit_code: negative for a signal; None while it runs.
        ended: when, by a clock that all processes of the machine share.
        error: its own report of a failure, with the names of ``AmctqError``.
        artifacts: the files that it has written.
    """

    name: str
    log: Path
    guard: int | None = None
    pid: int | None = None
    phase: str = ""
    done: int = 0
    step: int | None = None
    trained: bool = False
    figures: Mapping[str, float] = field(default_factory=dict)
    exit_code: int | None = None
    ended: float | None = None
    error: Mapping[str, Any] | None = None
    artifacts: tuple[Mapping[str, Any], ...] = ()

    def take(self, line: Mapping[str, Any]) -> None:
        """Take one line of its file."""
        event = line["event"]
        if event == "start":
            self.guard, self.pid = line["guard"], line["pid"]
        elif event == "progress":
            self.phase, self.done, self.figures = line["phase"], line["done"], line["figures"]
            if self.phase == "training":
                self.step = self.done
                self.trained |= "loss" in self.figures
        elif event == "error":
            self.error = line
        elif event == "result":
            self.artifacts = tuple(line["artifacts"])
        elif event == "end":
            self.exit_code, self.ended = line["exit_code"], line["time"]

    @property
    def progress(self) -> str:
        """How far it is, as a short text."""
        if self.guard is None:
            return "not started"
        doing = "starting" if not self.phase else self.phase if self.step is None else f"step {self.step:,}"
        return doing if self.step is None or self.phase == "training" else f"{doing}, {self.phase}"

    @property
    def ending(self) -> str:
        """How it has ended, as a short text."""
        assert self.exit_code is not None
        if self.exit_code >= 0:
            return f"failed with exit code {self.exit_code}"
        try:
            name = signal.Signals(-self.exit_code).name
        except ValueError:
            name = f"signal {-self.exit_code}"
        return f"was killed by {name}"

    def tail(self, lines: int) -> list[str]:
        """The last lines of its log that are not empty."""
        try:
            text = self.log.read_bytes()[-20_000:].decode(errors="replace")
        except OSError:
            return []
        return [line.rstrip()[:300] for line in text.splitlines() if line.strip()][-lines:]
