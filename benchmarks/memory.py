"""Peak memory of the whole process ``amctq ptq --eval-images 0``: many calibration images against few.

python benchmarks/memory.py --data ../shared/data --checkpoints ../shared/checkpoints
"""

from __future__ import annotations

import harness


def main() -> None:
    parser = harness.parser_for(__doc__)
    parser.add_argument("--model", default="resnet50")
    parser.add_argument("--images", nargs=2, type=int, default=[32, 2048], metavar=("FEW", "MANY"))
    parser.add_argument("more", nargs="*", help="after --: further options of amctq ptq")
    options = parser.parse_args()
    peaks = []
    for images in options.images:
        arguments = ["--calib-images", str(images), "--eval-images", "0", *options.more]
        with harness.amctq_ptq(options, options.model, *arguments) as run:
            peaks.append(run.process.peak_bytes)
            print(f"{images} images: {peaks[-1] / 2**30:.2f} GiB, {run.process.seconds:.0f} s", flush=True)
    print(f"ratio: {peaks[1] / peaks[0]:.3f}")


if __name__ == "__main__":
    main()
