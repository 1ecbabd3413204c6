"""Accuracy of ``amctq ptq`` for several seeds. A Markdown row for each network, image count, placement, observer.

    python benchmarks/accuracy.py --data ../shared/data --checkpoints ../shared/checkpoints \
        --models resnet20 resnet56 --calib-images 320 --seeds 1 2 3 4 5 --act-algos ifmr minmax

Without ``--act-algos`` or ``--placements``, amctq's default is measured.
"""

from __future__ import annotations

import argparse
from itertools import product
from typing import Any

import harness


def main() -> None:
    parser = harness.parser_for(__doc__)
    parser.add_argument("--models", nargs="+", default=["resnet20", "resnet56"])
    parser.add_argument("--calib-images", nargs="+", type=int, default=[320])
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3, 4, 5])
    parser.add_argument("--placements", nargs="+", default=[None])
    parser.add_argument("--act-algos", nargs="+", default=[None])
    parser.add_argument("more", nargs="*", help="after --: further options of amctq ptq")
    options = parser.parse_args()
    print(
        "| network | calibration images | placement | observer | float | INT8, by seed | mean drop "
        "| smallest p of a loss | file |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for model, images, placement, algo in product(
        options.models, options.calib_images, options.placements, options.act_algos
    ):
        choices = {"--placement": placement, "--act-algo": algo}
        arguments = [
            *("--batch-size", "200", "--calib-images", str(images)),
            *(text for option, value in choices.items() if value is not None for text in (option, value)),
            *options.more,
        ]
        reports = [_report(options, model, arguments, seed) for seed in options.seeds]
        print(_row(model, images, reports), flush=True)


def _report(options: argparse.Namespace, model: str, arguments: list[str], seed: int) -> dict[str, Any]:
    with harness.amctq_ptq(options, model, *arguments, "--seed", str(seed)) as run:
        return run.report


def _row(model: str, images: int, reports: list[dict[str, Any]]) -> str:
    quantization = reports[0]["quantization"]
    observers = sorted({layer["act_algo"] for layer in quantization["layers"]})
    accuracies = [report["accuracy"] for report in reports]
    cells = harness.accuracy_cells(
        accuracies[0]["float"]["top1"],
        [accuracy["int8"]["top1"] for accuracy in accuracies],
        [accuracy["mcnemar_p"] for accuracy in accuracies],
    )
    return (
        f"| {model} | {images} | {quantization['placement']} | {', '.join(observers)} | {cells} "
        f"| {reports[0]['files']['onnx']['ratio']:.4f} |"
    )


if __name__ == "__main__":
    main()
