"""What ``amctq qat`` regains: accuracy over seeds, agreement of file and training network, runs that are killed.

    python benchmarks/qat.py --data ../shared/data --checkpoints ../shared/checkpoints \
        --parts int8 int4 labels killed --seeds 1 2 3

One row for each run. ``regained`` is the share of the points lost by PTQ that retraining regains; ``loss`` is the mean
training loss of the first and of the last hundred steps; ``agreement`` is the share of test images for which the
exported file and the training network give the same class. ``labels`` is ``int4`` without the float network as teacher.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import harness

MODEL = "resnet20"
PARTS: dict[str, tuple[str, ...]] = {
    "int8": ("--epochs", "2"),
    "int4": ("--epochs", "3", "--weight-bits", "4"),
    "labels": ("--epochs", "3", "--weight-bits", "4", "--no-distill"),
}
EDGE = 100  # steps at the start and at the end whose mean loss is printed


def main() -> None:
    parser = harness.parser_for(__doc__)
    parser.add_argument("--parts", nargs="+", default=[*PARTS, "killed"], choices=[*PARTS, "killed"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3])
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("more", nargs="*", help="after --: further options of amctq qat")
    options = parser.parse_args()
    accuracy = [part for part in options.parts if part in PARTS]
    if accuracy:
        print("| part | seed | float | PTQ | training network | exported file | against float | regained "
              "| agreement | loss | seconds |")  # fmt: skip
        print("|---|---|---|---|---|---|---|---|---|---|---|")
    for part in accuracy:
        _accuracy_rows(options, part)
    if "killed" in options.parts:
        _killed(options)


def _command(options: argparse.Namespace, *more: str) -> list[str]:
    command = [harness.AMCTQ, "qat", "--dataset", options.data, "--ckpt", harness.checkpoint(options, MODEL)]
    return [*map(str, command), "--model", MODEL, "--json", *more, *options.more]


def _accuracy_rows(options: argparse.Namespace, part: str) -> None:
    gains: list[float] = []
    regained: list[float] = []
    for seed in options.seeds:
        with tempfile.TemporaryDirectory() as folder:
            command = _command(options, *PARTS[part], "--seed", str(seed), "--output-dir", folder)
            process, report = harness.run_json(command, what=f"{part}, seed {seed}")
            accuracy = report["accuracy"]
            losses = _losses(Path(folder) / "history.jsonl")
        before, start, after = (accuracy[stage]["top1"] for stage in ("float", "ptq", "int8"))
        gains.append(after - before)
        back = 100 * (after - start) / (before - start) if before > start else None
        regained += [] if back is None else [back]
        print(
            f"| {part} | {seed} | {before:.2f} | {start:.2f} | {accuracy['training_network']['top1']:.2f} "
            f"| {after:.2f} | {after - before:+.2f} | {'' if back is None else f'{back:.0f} %'} "
            f"| {accuracy['agreement']['percent']:.2f} % | {losses} | {process.seconds:.0f} |",
            flush=True,
        )
    mean = f"{statistics.mean(regained):.0f} %" if regained else ""
    print(f"| {part} | mean | | | | | {statistics.mean(gains):+.3f} | {mean} | | | |", flush=True)


def _losses(history: Path) -> str:
    losses = [item["loss"] for item in map(json.loads, history.read_text().splitlines()) if "loss" in item]
    return f"{statistics.mean(losses[:EDGE]):.4f} to {statistics.mean(losses[-EDGE:]):.4f}"


def _killed(options: argparse.Namespace) -> None:
    """A run that is killed at random steps and resumed each time, against one without a stop."""
    short = ("--train-images", "640", "--eval-images", "500", "--epochs", "3", "--save-every-steps", "7")
    steps = sorted(random.Random(options.seeds[0]).sample(range(1, 60), options.kills))
    with tempfile.TemporaryDirectory() as folder:
        one, other = Path(folder, "one"), Path(folder, "other")
        harness.run_process(_command(options, *short, "--output-dir", str(one)))
        for index, step in enumerate(steps):
            resume = ("--resume",) if index else ()
            _kill_at(_command(options, *short, "--output-dir", str(other), *resume), other / "history.jsonl", step)
        harness.run_process(_command(options, *short, "--output-dir", str(other), "--resume"))
        names = (
            f"{MODEL}_quant_retrain.onnx",
            "checkpoints/step-00000060.ckpt",
            "checkpoints/best.ckpt",
            "history.jsonl",
        )
        equal = {name: (one / name).read_bytes() == (other / name).read_bytes() for name in names}
    print(f"killed at steps {', '.join(map(str, steps))} of 60: {_format(equal)}", flush=True)


def _kill_at(command: Sequence[str], history: Path, step: int) -> None:
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while not (history.exists() and f'"step": {step},' in history.read_text()):
            if process.poll() is not None:
                sys.exit(f"the run to be killed at step {step} ended with {process.returncode}")
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGKILL)


def _format(equal: dict[str, Any]) -> str:
    return "; ".join(f"{name} {'equal' if same else 'DIFFERS'}" for name, same in equal.items())


if __name__ == "__main__":
    main()
