"""Shared by the benchmarks: arguments, ``amctq ptq`` as a process, turns, networks and their images."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeVar

# Before onnxruntime, whose reports to its makers amctq switches off.
import amctq  # noqa: F401

if TYPE_CHECKING:
    from amctq.data.samples import Batches, Samples, Split
    from amctq.inference.paired import PairedDifference
    from amctq.networks.float_network import FloatNetwork

T = TypeVar("T")
AMCTQ = Path(sys.executable).with_name("amctq")


def parser_for(documentation: str | None) -> argparse.ArgumentParser:
    """A parser with the arguments of every benchmark on real networks."""
    parser = argparse.ArgumentParser(description=documentation, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--checkpoints", type=Path, required=True)
    return parser


def checkpoint(options: argparse.Namespace, model: str) -> Path:
    return Path(options.checkpoints / f"{model}_cifar10.ckpt")


@dataclass(frozen=True, kw_only=True)
class Finished:
    """A process that has ended.

    Attributes:
        code: its exit code.
        stdout: what it printed.
        seconds: wall time.
        cpu_seconds: of all its threads, user and system; other processes disturb it less.
        peak_bytes: the largest amount of memory that it held.
    """

    code: int
    stdout: str
    seconds: float
    cpu_seconds: float
    peak_bytes: int


def run_process(
    command: Sequence[str | Path], *, check: bool = True, log: IO[str] | None = None, limit: float | None = None
) -> Finished:
    """Run a process to its end.

    Args:
        command: what runs.
        check: its failure ends the benchmark.
        log: where its stderr goes; else to the screen.
        limit: it is killed after this many seconds.
    """
    with tempfile.TemporaryFile("w+") as stdout:
        start = time.perf_counter()
        process = subprocess.Popen(command, stdout=stdout, stderr=log)
        clock = None if limit is None else threading.Timer(limit, process.kill)
        if clock is not None:
            clock.start()
        _, status, usage = os.wait4(process.pid, 0)  # of this child only; RUSAGE_CHILDREN adds all of them
        if clock is not None:
            clock.cancel()
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        if check and process.returncode:
            sys.exit(f"{' '.join(map(str, command))} ended with {process.returncode}")
        stdout.seek(0)
        return Finished(
            code=process.returncode,
            stdout=stdout.read(),
            seconds=seconds,
            cpu_seconds=usage.ru_utime + usage.ru_stime,
            peak_bytes=usage.ru_maxrss * 1024,
        )


def run_json(command: Sequence[str | Path], *, what: str) -> tuple[Finished, dict[str, Any]]:
    """Run an amctq command that has ``--json``; gives its ``data``. A failure ends the benchmark with its message."""
    process = run_process(command, check=False)
    envelope = json.loads(process.stdout)
    if process.code:
        sys.exit(f"{what}: {envelope['errors']}")
    return process, envelope["data"]


@dataclass(frozen=True, kw_only=True)
class PtqRun:
    """One run of ``amctq ptq``.

    Attributes:
        process: how it ran.
        report: ``data`` in the JSON that it prints.
        file: the INT8 ONNX; gone when the block of ``amctq_ptq`` ends.
    """

    process: Finished
    report: dict[str, Any]
    file: Path


@contextlib.contextmanager
def amctq_ptq(options: argparse.Namespace, model: str, *arguments: str) -> Iterator[PtqRun]:
    """Run ``amctq ptq`` on a model's shared checkpoint; a failure ends the benchmark with its message."""
    with tempfile.TemporaryDirectory() as folder:
        command = [
            *(AMCTQ, "ptq", "--dataset", options.data, "--model", model, "--ckpt", checkpoint(options, model)),
            *("--json", "--output-dir", folder, *arguments),
        ]
        process, report = run_json(command, what=f"{model} {' '.join(arguments)}")
        yield PtqRun(process=process, report=report, file=Path(folder) / f"{model}_quant.onnx")


def in_turns(turns: Mapping[str, Callable[[], T]], *, rounds: int, warm_up: bool) -> dict[str, list[T]]:
    """Results of ``turns``, ``rounds`` times, in turns: changes of the machine's speed affect all of them.

    Every round has its own order, the same in every run: a turn affects caches and clock of the next one.

    Args:
        turns: by name.
        rounds: how often each.
        warm_up: run each once before, without recording it: this fills the caches of the file system or of a session.
    """
    found: dict[str, list[T]] = {name: [] for name in turns}
    for turn in turns.values() if warm_up else ():
        turn()
    order = random.Random(0)
    for _ in range(rounds):
        for name in order.sample(list(turns), len(turns)):
            found[name].append(turns[name]())
    return found


def accuracy_cells(before: float, after: Sequence[float], p_values: Sequence[float]) -> str:
    """Cells of a Markdown row: float top-1, INT8 top-1 of each seed, mean drop, smallest p of the seeds with a loss."""
    losses = [p for value, p in zip(after, p_values, strict=True) if value < before]
    by_seed = ", ".join(format(value, ".2f") for value in after)
    return f"{before:.2f} | {by_seed} | {before - statistics.mean(after):+.3f} | {min(losses, default=1.0):.2g}"


def difference_cells(before: float, found: Sequence[PairedDifference]) -> str:
    """The same of the paired differences of a metric that counts hits, one for each seed."""
    p_values = [each.hits.p_value for each in found if each.hits is not None]
    return accuracy_cells(before, [before - each.drop for each in found], p_values)


def calibration_images(options: argparse.Namespace, model: str, images: int, seed: int, size: int | None) -> Samples:
    """The calibration images of ``amctq ptq --seed``, with the same preprocessing."""
    return _split(options, model, images, 0, seed, size).calibration


def evaluation_images(options: argparse.Namespace, model: str) -> Samples:
    """All test images, with the preprocessing of ``amctq ptq``."""
    samples = _split(options, model, 1, None, 1, None).evaluation
    assert samples is not None
    return samples


def _split(
    options: argparse.Namespace, model: str, calibration: int, evaluation: int | None, seed: int, size: int | None
) -> Split:
    from amctq.data.samples import split
    from amctq.data.source import find_dataset
    from amctq.networks.registry import find_model

    preprocessing = find_model(model).preprocessing(10).changed(image_size=size)
    dataset = find_dataset(str(options.data)).open(preprocessing)
    return split(dataset, calibration_images=calibration, evaluation_images=evaluation, seed=seed)


def float_network(options: argparse.Namespace, model: str, examples: Batches) -> FloatNetwork:
    """A network with its shared checkpoint, and the ONNX graph that MindSpore exports from it."""
    from amctq.choices import Device
    from amctq.networks.registry import find_model
    from amctq.networks.verified import load_network
    from amctq.progress import Reporter
    from amctq.runtime import resolve_device

    with tempfile.TemporaryDirectory() as folder:
        return load_network(
            spec=find_model(model),
            ckpt=checkpoint(options, model),
            num_classes=10,
            device=resolve_device(Device.CPU, None),
            examples=examples,
            scratch=Path(folder),
            reporter=Reporter(),
        ).network
