"""What several workers cost and give under msrun on one machine: speed, start-up, supervision, failures, accuracy.

    python benchmarks/distributed.py --data ../shared/data --checkpoints ../shared/checkpoints \
        --parts speed startup supervisor failure accuracy

Needs a quiet machine with two cores. ``speed``: training images a second of two workers with one core each against one
worker with one core, batch 64 each. ``startup``: from the command line to the end of the first step, one worker with
all cores against two that share them. ``supervisor``: CPU time of the launching process in a minute of training.
``failure``: from a worker's death to the launcher's end. ``accuracy``: INT8 top-1 of two workers with batch 16 against
one with batch 32, over seeds: the difference of the means, and its standard error from the seeds.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import harness

MODEL = "resnet20"
PARTS = ("speed", "startup", "supervisor", "failure", "accuracy")
STEPS = 45  # a worker reports the rate of its last 20 steps
SECONDS = 60
TICKS = os.sysconf("SC_CLK_TCK")


def main() -> None:
    parser = harness.parser_for(__doc__)
    parser.add_argument("--parts", nargs="+", default=PARTS, choices=PARTS)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3])
    parser.add_argument("--seconds", type=float, default=SECONDS, help="that the supervisor is watched for")
    parser.add_argument("more", nargs="*", help="after --: further options of amctq launch-distributed")
    options = parser.parse_args()
    for part in options.parts:
        globals()[f"_{part}"](options)


@dataclass(frozen=True, kw_only=True)
class Launch:
    """A launch that is running.

    Attributes:
        process: the launcher.
        started: when, by ``time.perf_counter``.
        output: its output directory.
    """

    process: subprocess.Popen[bytes]
    started: float
    output: Path

    def lines(self, rank: int) -> list[dict[str, Any]]:
        """The status lines of a rank so far."""
        file = self.output / "logs" / f"train_parallel{rank}" / "status.jsonl"
        text = file.read_text() if file.exists() else ""
        return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]

    def steps(self, rank: int) -> list[dict[str, float]]:
        """The figures of a rank after each step."""
        return [line["figures"] for line in self.lines(rank) if "loss" in line.get("figures", {})]

    def wait_for_step(self, step: int, ranks: int) -> None:
        """Wait until all ranks have done ``step`` steps."""
        while any(len(self.steps(rank)) < step for rank in range(ranks)):
            if self.process.poll() is not None:
                sys.exit(f"the launch ended with {self.process.returncode} before step {step}")
            time.sleep(0.02)


@contextlib.contextmanager
def _launch(options: argparse.Namespace, workers: int, *more: str, cores: int | None = None) -> Iterator[Launch]:
    """A launch that is stopped at the end of the block."""
    with tempfile.TemporaryDirectory() as folder:
        own = sorted(os.sched_getaffinity(0))[:cores]
        command = [
            *("taskset", "-c", ",".join(map(str, own)), harness.AMCTQ, "launch-distributed", "--workers", str(workers)),
            *("--dataset", options.data, "--ckpt", harness.checkpoint(options, MODEL), "--model", MODEL),
            *("--output-dir", folder, "--json", *more, *options.more),
        ]
        started = time.perf_counter()
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            yield Launch(process=process, started=started, output=Path(folder))
        finally:
            process.terminate()
            process.wait()


def _speed(options: argparse.Namespace) -> None:
    def rate(workers: int) -> float:
        more = ("--batch-size", "64", "--max-steps", "10000", "--eval-images", "0")
        with _launch(options, workers, *more, cores=workers) as launch:
            launch.wait_for_step(STEPS, workers)
            return sum(launch.steps(rank)[STEPS - 1]["images_per_second"] for rank in range(workers))

    found = harness.in_turns({"1": lambda: rate(1), "2": lambda: rate(2)}, rounds=options.rounds, warm_up=False)
    one, two = (statistics.median(found[name]) for name in ("1", "2"))
    print(f"speed: one worker {one:.1f} images/s, two {two:.1f}: {two / one:.2f} x", flush=True)


def _startup(options: argparse.Namespace) -> None:
    def seconds(workers: int) -> float:
        with _launch(options, workers, "--batch-size", "64", "--max-steps", "100", "--eval-images", "0") as launch:
            launch.wait_for_step(1, workers)
            return time.perf_counter() - launch.started

    found = harness.in_turns({"1": lambda: seconds(1), "2": lambda: seconds(2)}, rounds=options.rounds, warm_up=False)
    one, two = (statistics.median(found[name]) for name in ("1", "2"))
    print(f"startup: one worker {one:.1f} s, two {two:.1f} s: {two / one:.2f} x", flush=True)


def _supervisor(options: argparse.Namespace) -> None:
    with _launch(options, 2, "--batch-size", "16", "--max-steps", "100000", "--eval-images", "0") as launch:
        launch.wait_for_step(3, 2)
        before, begin = _cpu_seconds(launch.process.pid), time.perf_counter()
        time.sleep(options.seconds)
        spent, passed = _cpu_seconds(launch.process.pid) - before, time.perf_counter() - begin
        steps = len(launch.steps(0))
    used = f"{spent:.2f} s of CPU in {passed:.0f} s and {steps} steps"
    print(f"supervisor: {used}: {100 * spent / passed:.2f} % of a core", flush=True)


def _cpu_seconds(pid: int) -> float:
    """CPU time of the process only, user and system; taskset has become amctq."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def _failure(options: argparse.Namespace) -> None:
    for number in (signal.SIGSEGV, signal.SIGKILL, signal.SIGABRT):
        with _launch(options, 2, "--batch-size", "16", "--max-steps", "100000", "--eval-images", "0") as launch:
            launch.wait_for_step(3, 2)
            worker = next(line["pid"] for line in launch.lines(1) if line["event"] == "start")
            os.kill(worker, number)
            begin = time.perf_counter()
            code = launch.process.wait()
            print(f"failure: {number.name} {time.perf_counter() - begin:.1f} s, exit {code}", flush=True)


def _accuracy(options: argparse.Namespace) -> None:
    print("| workers x batch | seed | float | PTQ | INT8 |\n|---|---|---|---|---|")
    found = {}
    for workers, batch in ((1, 32), (2, 16)):
        found[workers] = [_top1(options, workers, batch, seed) for seed in options.seeds]
    one, two = found[1], found[2]
    noise = math.sqrt(sum(statistics.variance(values) / len(values) for values in (one, two)))
    difference = statistics.mean(two) - statistics.mean(one)
    print(f"accuracy: 2 x 16 against 1 x 32: {difference:+.3f} points, standard error {noise:.3f}", flush=True)


def _top1(options: argparse.Namespace, workers: int, batch: int, seed: int) -> float:
    more: Sequence[str] = ("--batch-size", str(batch), "--epochs", "2", "--seed", str(seed))
    with tempfile.TemporaryDirectory() as folder:
        command = [
            *(harness.AMCTQ, "launch-distributed", "--workers", str(workers), "--dataset", options.data),
            *("--ckpt", harness.checkpoint(options, MODEL), "--model", MODEL, "--json", "--output-dir", folder),
            *more,
            *options.more,
        ]
        _, report = harness.run_json(command, what=f"{workers} x {batch}, seed {seed}")
    before, start, after = (report["accuracy"][stage]["top1"] for stage in ("float", "ptq", "int8"))
    print(f"| {workers} x {batch} | {seed} | {before:.2f} | {start:.2f} | {after:.2f} |", flush=True)
    return float(after)


if __name__ == "__main__":
    main()
