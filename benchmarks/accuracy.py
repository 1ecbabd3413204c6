"""Accuracy of ``amctq ptq`` over seeds: one Markdown row for each network and number of calibration images.

    python benchmarks/accuracy.py --data ../shared/data --checkpoints ../shared/checkpoints \
        --models resnet20 resnet56 --calib-images 320 --seeds 1 2 3 4 5
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

AMCTQ = Path(sys.executable).with_name("amctq")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--checkpoints", type=Path, required=True)
    parser.add_argument("--models", nargs="+", default=["resnet20", "resnet56"])
    parser.add_argument("--calib-images", nargs="+", type=int, default=[320])
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3, 4, 5])
    parser.add_argument("more", nargs="*", help="after --: further options of amctq ptq")
    options = parser.parse_args()
    print("| network | calibration images | float | INT8, by seed | mean drop | smallest p of a loss | file |")
    print("|---|---|---|---|---|---|---|")
    for model in options.models:
        for images in options.calib_images:
            reports = [_run(options, model, images, seed) for seed in options.seeds]
            print(_row(model, images, reports), flush=True)


def _run(options: argparse.Namespace, model: str, images: int, seed: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        command = [
            *(AMCTQ, "ptq", "--dataset", options.data, "--model", model, "--json", "--output-dir", folder),
            *("--ckpt", options.checkpoints / f"{model}_cifar10.ckpt", "--batch-size", "200"),
            *("--calib-images", str(images), "--seed", str(seed), *options.more),
        ]
        done = subprocess.run(command, stdout=subprocess.PIPE, check=False)
    envelope: dict[str, Any] = json.loads(done.stdout)
    if done.returncode:
        sys.exit(f"{model}, {images} images, seed {seed}: {envelope['errors']}")
    data: dict[str, Any] = envelope["data"]
    return data


def _row(model: str, images: int, reports: list[dict[str, Any]]) -> str:
    accuracies = [report["accuracy"] for report in reports]
    drops = [accuracy["top1_drop"] for accuracy in accuracies]
    losses = [accuracy["mcnemar_p"] for accuracy in accuracies if accuracy["top1_drop"] > 0]
    return (
        f"| {model} | {images} | {accuracies[0]['float']['top1']:.2f} "
        f"| {', '.join(format(accuracy['int8']['top1'], '.2f') for accuracy in accuracies)} "
        f"| {statistics.mean(drops):+.3f} | {min(losses, default=1.0):.2g} "
        f"| {reports[0]['files']['onnx']['ratio']:.4f} |"
    )


if __name__ == "__main__":
    main()
