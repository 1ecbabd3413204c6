"""``amctq ptq --eval-images 0`` against its peers, whole processes in turns: from a checkpoint to an INT8 file.

    python benchmarks/process_time.py --data ../shared/data --checkpoints ../shared/checkpoints \
        --images 32 --peers percentile --rounds 5
    python benchmarks/process_time.py --data ../shared/data --checkpoints ../shared/checkpoints \
        --images 512 --peers minmax nncf --rounds 1

A peer is a process of the same interpreter (``--peer-python`` for another one) that runs ``peer_process.py``.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import harness

PEER = Path(__file__).with_name("peer_process.py")


def amctq(options: argparse.Namespace) -> harness.Finished:
    arguments = ["--calib-images", str(options.images), "--eval-images", "0", *options.more]
    with harness.amctq_ptq(options, options.model, *arguments) as run:
        phases = run.report["timing"]["seconds"] | run.report["timing"]["parts"]
        print("  phases, s: " + ", ".join(f"{name} {seconds:.1f}" for name, seconds in phases.items()))
        return shown("amctq", run.process)


def peer(options: argparse.Namespace, name: str) -> harness.Finished:
    command = [
        *(options.peer_python, PEER, "--data", options.data, "--checkpoints", options.checkpoints),
        *("--peer", name, "--model", options.model, "--images", str(options.images)),
    ]
    return shown(name, harness.run_process(command))


def shown(name: str, process: harness.Finished) -> harness.Finished:
    gib = process.peak_bytes / 2**30
    print(f"{name}: {process.seconds:.1f} s, {process.cpu_seconds:.1f} CPU s, at most {gib:.2f} GiB", flush=True)
    return process


def main() -> None:
    parser = harness.parser_for(__doc__)
    parser.add_argument("--model", default="resnet50")
    parser.add_argument("--images", type=int, default=32, help="how many calibrate")
    parser.add_argument("--peers", nargs="+", default=["percentile"])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--peer-python", type=Path, default=Path(sys.executable))
    parser.add_argument("more", nargs="*", help="after --: further options of amctq ptq")
    options = parser.parse_args()
    turns: dict[str, Callable[[], harness.Finished]] = {"amctq": partial(amctq, options)}
    turns |= {name: partial(peer, options, name) for name in options.peers}
    found = harness.in_turns(turns, rounds=options.rounds, warm_up=False)
    wall = {name: statistics.median(run.seconds for run in runs) for name, runs in found.items()}
    cpu = {name: statistics.median(run.cpu_seconds for run in runs) for name, runs in found.items()}
    fastest = min(options.peers, key=wall.__getitem__)
    print(f"median of {options.rounds}: " + ", ".join(f"{name} {seconds:.1f} s" for name, seconds in wall.items()))
    print(f"ratio to {fastest}: {wall['amctq'] / wall[fastest]:.2f} ({cpu['amctq'] / cpu[fastest]:.2f} in CPU seconds)")


if __name__ == "__main__":
    main()
