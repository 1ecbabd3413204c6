"""``history.jsonl``: the curves of a run, one JSON object a line, the same bytes however often the run was stopped.

A line of a step holds step, epoch, loss and learning_rate; a line of an evaluation holds step, epoch, top1 and top5.
There are no times in it, because they differ from run to run.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Mapping
from io import FileIO
from pathlib import Path
from typing import Any

from amctq.download.sums import Summing
from amctq.files import Artifact, write_whole, writing
from amctq.training.snapshot import Score, TrainingState


class History:
    """The history file of a run, as a context manager. The run must hold the output directory.

    Args:
        path: of the file.
        state: where the run begins or is resumed; later lines of a killed run are removed, they will come again.
    """

    def __init__(self, path: Path, state: TrainingState) -> None:
        self._path = path
        self._state = state
        self._stream: FileIO | None = None
        self._sums = Summing(md5=False)

    def __enter__(self) -> History:
        former = self._path.read_bytes().splitlines(keepends=True) if self._path.is_file() else []
        kept = [line for line in former if _belongs(line, self._state)]
        write_whole(self._path, kept)
        for line in kept:
            self._sums.add(line)
        with writing(self._path):
            self._stream = self._path.open("ab", buffering=0)
        return self

    def __exit__(self, *error: object) -> None:
        assert self._stream is not None
        self._stream.close()

    def artifact(self) -> Artifact:
        """The file as this run has written it so far."""
        sums = self._sums.sums()
        return Artifact(path=self._path, bytes=sums.bytes, sha256=sums.sha256)

    def step(self, *, step: int, epoch: int, loss: float, learning_rate: float) -> None:
        """Write the line of a step.

        Raises:
            WriteError: the file system refuses.
        """
        self._line({"step": step, "epoch": epoch, "loss": _short(loss), "learning_rate": _short(learning_rate)})

    def score(self, *, step: int, score: Score) -> None:
        """Write the line of an evaluation.

        Raises:
            WriteError: the file system refuses.
        """
        self._line({"step": step, "epoch": score.epoch, "top1": round(score.top1, 4), "top5": round(score.top5, 4)})

    def _line(self, item: Mapping[str, Any]) -> None:
        assert self._stream is not None
        line = (json.dumps(item) + "\n").encode()
        with writing(self._path):
            if self._stream.write(line) != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._sums.add(line)


def _belongs(line: bytes, state: TrainingState) -> bool:
    """Whether a line is complete, and its step or evaluation is part of ``state``."""
    try:
        item = json.loads(line)
    except ValueError:  # the process was killed while it wrote this line
        return False
    done: bool = item["step"] <= state.step and ("top1" not in item or item["epoch"] <= state.evaluated)
    return done and line.endswith(b"\n")


def _short(value: float) -> float:
    """The value with the digits of a float32."""
    return float(f"{value:.9g}")
