"""The curves of a training for the report: its history, in as many points as a plot can show."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from amctq.training.history import former_lines

if TYPE_CHECKING:
    from amctq.training.snapshot import TrainingState

_POINTS = 300


def curves(path: Path, state: TrainingState) -> dict[str, Any]:
    """The steps and the evaluations of a history file.

    Args:
        path: of ``history.jsonl``.
        state: at the end of the training.

    Returns:
        ``steps``: at most 300 points, each with the mean loss of its steps, and step, epoch and learning rate of the
        last of them. ``epochs``: the evaluations, as the file has them.
    """
    items = [json.loads(line) for line in former_lines(path, state)]
    steps = [item for item in items if "loss" in item]
    each = max(1, -(-len(steps) // _POINTS))
    parts = [steps[start : start + each] for start in range(0, len(steps), each)]
    return {"steps": list(map(_point, parts)), "epochs": [item for item in items if "loss" not in item]}


def _point(part: list[Mapping[str, Any]]) -> dict[str, Any]:
    return {**part[-1], "loss": float(f"{sum(item['loss'] for item in part) / len(part):.6g}")}
