"""Images per second in onnxruntime: amctq's INT8 file against the fastest file of ``quantize_static``.

    python benchmarks/speed.py --data ../shared/data --checkpoints ../shared/checkpoints
    python benchmarks/speed.py --data ../shared/data --checkpoints ../shared/checkpoints \
        --models resnet50 --amctq-file results/resnet50_quant.onnx

Both start from the same float graph and the same 32 calibration images. The peer runs in four variants, with and
without its own optimisation, in both of its formats; the row compares with the fastest of them.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from functools import partial
from itertools import product
from pathlib import Path

import harness
import peers

from amctq.data.inputs import Inputs
from amctq.data.samples import Batches
from amctq.inference.onnx_session import OnnxSession, onnx_session

BATCH = {"resnet20": 200, "resnet56": 200, "resnet50": 8}
CALIBRATION = 32


def seconds(session: OnnxSession, inputs: Inputs) -> float:
    start = time.perf_counter()
    session.run(inputs)
    return time.perf_counter() - start


def sessions(options: argparse.Namespace, model: str) -> dict[str, OnnxSession]:
    samples = harness.calibration_images(options, model, CALIBRATION, 1, None)
    graph = harness.float_network(options, model, Batches(samples=samples, size=CALIBRATION)).graph
    found = {"float": OnnxSession(graph.model)}
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "int8.onnx"
        for pre_process, qdq in product((True, False), (True, False)):
            name = f"{'QDQ' if qdq else 'QOperator'}, {'pre-processed' if pre_process else 'as exported'}"
            reader = peers.Reader(Batches(samples=samples, size=1))
            variant = peers.Variant(qdq=qdq)
            peers.quantize_static(
                graph.model, reader, method="minmax", target=target, variant=variant, pre_process=pre_process
            )
            found[name] = onnx_session(target.read_bytes())
    if options.amctq_file:
        found["amctq"] = onnx_session(options.amctq_file.read_bytes())
    else:
        with harness.amctq_ptq(
            options, model, "--calib-images", str(CALIBRATION), "--eval-images", "0", *options.more
        ) as run:
            found["amctq"] = onnx_session(run.file.read_bytes())
    return found


def main() -> None:
    parser = harness.parser_for(__doc__)
    parser.add_argument("--models", nargs="+", choices=BATCH, default=["resnet20", "resnet50"])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--batch", type=int, help="images at once; 200 of 32 x 32 or 8 of 224 x 224 by default")
    parser.add_argument("--amctq-file", type=Path, help="time this file instead of making one; with one model")
    parser.add_argument("more", nargs="*", help="after --: further options of amctq ptq")
    options = parser.parse_args()
    if options.amctq_file and len(options.models) != 1:
        sys.exit("--amctq-file belongs to one model: add --models NAME")
    print("| network | batch | float | quantize_static | its fastest variant | amctq | ratio |")
    print("|---|---|---|---|---|---|---|")
    for model in options.models:
        batch = options.batch or BATCH[model]
        inputs = Batches(samples=harness.evaluation_images(options, model), size=batch).first()
        turns = {name: partial(seconds, session, inputs) for name, session in sessions(options, model).items()}
        times = harness.in_turns(turns, rounds=options.rounds, warm_up=True)
        speed = {name: batch / statistics.median(found) for name, found in times.items()}
        fastest = max((name for name in speed if name not in {"float", "amctq"}), key=speed.__getitem__)
        print(
            f"| {model} | {batch} | {speed['float']:.0f} | {speed[fastest]:.0f} | {fastest} | {speed['amctq']:.0f} "
            f"| {speed['amctq'] / speed[fastest]:.3f} |",
            flush=True,
        )
        for name, per_second in speed.items():
            print(f"  {model}, {name}: {per_second:.1f} img/s", file=sys.stderr)


if __name__ == "__main__":
    main()
