"""amctq's INT8 file against float in onnxruntime, on one thread, batch 8 and 1; a Markdown row for each network.

    python benchmarks/networks.py --data ../shared/data/imagenet_sample --work zoo --steps ptq --models mobilenet_v2_100
    python benchmarks/float_speed.py --data ../shared/data/imagenet_sample --folders zoo/mobilenet_v2_100 \
        -- --weight-bits 7

What follows ``--`` goes to ``amctq ptq``. Sessions have onnxruntime's own settings, and run in turns. The time is that
of the processor, of which another program takes nothing; the row has the medians.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from functools import partial
from pathlib import Path

import harness
import networks_compare
import networks_prepare
import networks_speed
import numpy as np
import onnxruntime

from amctq.data.inputs import Inputs
from amctq.data.samples import Batches

_BATCHES = (8, 1)


def session(content: bytes) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def seconds(of: onnxruntime.InferenceSession, batch: Inputs) -> float:
    start = time.process_time()
    of.run(None, dict(batch))
    return time.process_time() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folders", type=Path, nargs="+", required=True, help="of networks_prepare.py")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("more", nargs="*", help="after --: further options of amctq ptq")
    options = parser.parse_args()
    images = networks_prepare.images(options.data, options.size)
    few = Batches(samples=images.calibration.take(np.arange(1)), size=1)
    assert images.evaluation is not None
    print("| network | batch | float, ms | INT8, ms | ratio |")
    print("|---|---|---|---|---|")
    for folder in options.folders:
        options.folder = folder
        with tempfile.TemporaryDirectory() as scratch:
            int8 = networks_speed.amctq_file(options, Path(scratch), ())
        float_file = networks_compare.float_graph(folder, few).model.SerializeToString()
        sessions = {"float": session(float_file), "int8": session(int8)}
        for size in _BATCHES:
            batch = Batches(samples=images.evaluation, size=size).first()
            turns = {name: partial(seconds, of, batch) for name, of in sessions.items()}
            found = harness.in_turns(turns, rounds=options.rounds, warm_up=True)
            median = {name: 1000 * statistics.median(times) for name, times in found.items()}
            ratio = median["float"] / median["int8"]
            print(
                f"| {folder.name} | {size} | {median['float']:.1f} | {median['int8']:.1f} | {ratio:.2f} |", flush=True
            )
    os._exit(0)  # MindSpore's cells complain when the interpreter takes them down


if __name__ == "__main__":
    main()
