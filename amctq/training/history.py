"""``history.jsonl``: the curves of a run, one JSON object a line, the same bytes however often the run was stopped.

A line of a step holds step, epoch, loss and learning_rate; a line of an evaluation holds step, epoch and the
metric, such as top1 and top5.
There are no times in it, because they differ from run to run.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Mapping, Sequence
from io import FileIO
from pathlib import Path
from typing import Any

from amctq.download.sums import Summing
from amctq.errors import InputError
from amctq.files import Artifact, reading, write_whole, writing
from amctq.input_file import text_of
from amctq.number_text import float32_digits
from amctq.regular_file import open_regular
from amctq.training.snapshot import EpochScore, TrainingState


class History:
    """The history file of a run, as a context manager. The run must hold the output directory.

    Args:
        path: of the file.
        former: the lines that it begins with, as ``former_lines`` gives them. Later ones of a killed run are removed;
            they will come again.

    Raises:
        WriteError: on entry, the file system refuses.
    """

    def __init__(self, path: Path, former: Sequence[str] = ()) -> None:
        self._path = path
        self._former = former
        self._stream: FileIO | None = None
        self._sums = Summing(md5=False)

    def __enter__(self) -> History:
        kept = [f"{line}\n".encode() for line in self._former]
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
        self._line(
            {"step": step, "epoch": epoch, "loss": float32_digits(loss), "learning_rate": float32_digits(learning_rate)}
        )

    def score(self, *, step: int, score: EpochScore) -> None:
        """Write the line of an evaluation.

        Raises:
            WriteError: the file system refuses.
        """
        figures = {name: float32_digits(value) for name, value in score.figures.items()}
        self._line({"step": step, "epoch": score.epoch, **figures})

    def _line(self, item: Mapping[str, Any]) -> None:
        assert self._stream is not None
        line = (json.dumps(item) + "\n").encode()
        with writing(self._path):
            if self._stream.write(line) != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._sums.add(line)


def former_lines(path: Path, state: TrainingState) -> list[str]:
    """The lines of a file that are part of ``state``; none where there is no file.

    A killed process or a power cut may leave anything at the end of the file, so what follows the last line of
    ``state`` is not looked at.

    Raises:
        InputError: the file cannot be read, or has a line that amctq does not write.
    """
    if state.step == 0 or not path.exists():
        return []
    with reading(str(path)), open_regular(path) as stream:
        content = stream.read().rstrip(b"\0")
    lines = text_of(content, str(path), errors="replace").split("\n")[:-1]
    items = [_item(line) for line in lines]
    part = [item is not None and _belongs(item, state) for item in items]
    last = max((number for number, belongs in enumerate(part) if belongs), default=-1)
    for number, item in enumerate(items[:last]):
        if item is None:
            message = f"{path}, line {number + 1}: found {lines[number][:60]!r}, expected what amctq writes"
            raise InputError(message, hint="remove that line, or move the file away to resume without it")
    return [line for line, belongs in zip(lines, part, strict=True) if belongs]


def _item(line: str) -> Mapping[str, Any] | None:
    """The object of a line; None where it is not one that amctq writes."""
    try:
        item = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(item, dict) or not all(type(item.get(key)) is int for key in ("step", "epoch")):
        return None
    return item


def _belongs(item: Mapping[str, Any], state: TrainingState) -> bool:
    """Whether a step or an evaluation is part of ``state``."""
    return bool(item["step"] <= state.step and ("loss" in item or item["epoch"] <= state.evaluated))
