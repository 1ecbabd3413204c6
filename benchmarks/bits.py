"""``amctq ptq --weight-bits auto`` against one width for all layers, at the same size: accuracy on all test images.

    python benchmarks/bits.py --data ../shared/data --checkpoints ../shared/checkpoints --seeds 1 2 3

The size is that of the packed weights, their scales and the biases. Nothing is chosen by the test images.
"""

from __future__ import annotations

import argparse
from collections import Counter

import harness

CALIBRATION = ("--calib-images", "320")


def main() -> None:
    parser = harness.parser_for(__doc__)
    parser.add_argument("--models", nargs="+", default=["resnet20"])
    parser.add_argument("--widths", nargs="+", default=["4", "3"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    options = parser.parse_args()
    print("| network | size of | bytes | seed | float | drop, uniform | drop, auto | layers of each width | auto, s |")
    print("|---|---|---|---|---|---|---|---|---|")
    for model in options.models:
        for bits in options.widths:
            limit = _size(options, model, bits)
            for seed in options.seeds:
                print(_row(options, model, bits, limit, str(seed)), flush=True)


def _size(options: argparse.Namespace, model: str, bits: str) -> int:
    """Bytes of the weights with one width."""
    few = ("--calib-images", "4", "--tuning-images", "4", "--eval-images", "0")
    with harness.amctq_ptq(options, model, "--weight-bits", "auto", "--max-size", "1.0", *few) as run:
        return int(run.report["bits"]["uniform"][bits])


def _row(options: argparse.Namespace, model: str, bits: str, limit: int, seed: str) -> str:
    drops, counts, seconds, before = [], Counter[int](), 0.0, 0.0
    for own in (("--weight-bits", bits), ("--weight-bits", "auto", "--max-size", str(limit))):
        with harness.amctq_ptq(options, model, *own, *CALIBRATION, "--seed", seed) as run:
            accuracy, layers = run.report["accuracy"], run.report["quantization"]["layers"]
            before, counts = accuracy["float"]["top1"], Counter(layer["weight_bits"] for layer in layers)
            drops.append(accuracy["top1_drop"])
            seconds = run.process.seconds
    widths = ", ".join(f"{count} of {width}" for width, count in sorted(counts.items()))
    return (
        f"| {model} | {bits} bits | {limit:,} | {seed} | {before:.2f} | {drops[0]:.2f} | {drops[1]:.2f} | {widths} "
        f"| {seconds:.0f} |"
    )


if __name__ == "__main__":
    main()
