"""Accuracy of ``amctq ptq --target``, by seed. A Markdown row for each network and target.

python benchmarks/targets.py --data ../shared/data --checkpoints ../shared/checkpoints
"""

from __future__ import annotations

import harness


def main() -> None:
    parser = harness.parser_for(__doc__)
    parser.add_argument("--models", nargs="+", default=["resnet20", "resnet56"])
    parser.add_argument("--targets", nargs="+", default=["onnxruntime", "openvino", "tensorrt", "ascend"])
    parser.add_argument("--calib-images", default="320")
    parser.add_argument("--seeds", nargs="+", default=["1", "2", "3"])
    options = parser.parse_args()
    print("| network | target | measured in | weights, bits | float | quantized, by seed | mean drop | smallest p |")
    print("|---|---|---|---|---|---|---|---|")
    for model in options.models:
        for target in options.targets:
            words = ("--target", target, "--calib-images", options.calib_images)
            reports = []
            for seed in options.seeds:
                with harness.amctq_ptq(options, model, *words, "--seed", seed) as run:
                    reports.append(run.report)
            found = [report["accuracy"] for report in reports]
            cells = harness.accuracy_cells(
                found[0]["float"]["top1"],
                [each["int8"]["top1"] for each in found],
                [each["mcnemar_p"] for each in found],
            )
            runtime = reports[0]["deployment"]["runtime"]
            bits = sorted({layer["weight_bits"] for layer in reports[0]["quantization"]["layers"]})
            print(f"| {model} | {target} | {runtime} | {', '.join(map(str, bits))} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
