"""Time and memory of ``amctq ptq --weight-bits 4`` against 8 bits: whole processes, in turns.

    python benchmarks/narrow.py --data ../shared/data --checkpoints ../shared/checkpoints --rounds 3

ResNet-50 at 224 x 224 with 32 calibration images and without an evaluation, resnet20 with 320 and all test images.
"""

from __future__ import annotations

import argparse
import statistics
from functools import partial

import harness

RUNS = {"resnet50": ("--calib-images", "32", "--eval-images", "0"), "resnet20": ("--calib-images", "320")}


def main() -> None:
    parser = harness.parser_for(__doc__)
    parser.add_argument("--models", nargs="+", choices=RUNS, default=list(RUNS))
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    print("| network | 8 bits, s | 4 bits, s | ratio | of CPU | peak memory, GiB | ratio |")
    print("|---|---|---|---|---|---|---|")
    for model in options.models:
        turns = {bits: partial(_run, options, model, bits) for bits in ("8", "4")}
        found = harness.in_turns(turns, rounds=options.rounds, warm_up=False)
        seconds, cpu, peak = (
            {bits: statistics.median(getattr(run, name) for run in runs) for bits, runs in found.items()}
            for name in ("seconds", "cpu_seconds", "peak_bytes")
        )
        print(
            f"| {model} | {seconds['8']:.1f} | {seconds['4']:.1f} | {seconds['4'] / seconds['8']:.2f} "
            f"| {cpu['4'] / cpu['8']:.2f} | {peak['8'] / 2**30:.2f}, {peak['4'] / 2**30:.2f} "
            f"| {peak['4'] / peak['8']:.2f} |",
            flush=True,
        )


def _run(options: argparse.Namespace, model: str, bits: str) -> harness.Finished:
    with harness.amctq_ptq(options, model, "--weight-bits", bits, *RUNS[model]) as run:
        return run.process


if __name__ == "__main__":
    main()
