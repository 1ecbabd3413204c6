"""Accuracy of the peers, with the calibration images of ``amctq ptq`` for the same seed. A Markdown row for each.

python benchmarks/peers_accuracy.py --data ../shared/data --checkpoints ../shared/checkpoints
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
from pathlib import Path

import harness
import peers

from amctq.data.samples import Batches
from amctq.graph.float_graph import FloatGraph
from amctq.inference.metrics.measure import measure
from amctq.inference.metrics.score import Score
from amctq.inference.metrics.top1 import Top1
from amctq.inference.onnx_session import OnnxSession, onnx_session
from amctq.inference.paired import paired_difference


def quantized(options: argparse.Namespace, graph: FloatGraph, model: str, peer: str, seed: int) -> OnnxSession:
    samples = harness.calibration_images(options, model, options.calib_images, seed, None)
    # One image at a time, as in the guides of both peers: NNCF averages over a batch.
    batches = Batches(samples=samples, size=1)
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "int8.onnx"
        if peer == peers.NNCF:
            peers.quantize_nncf(graph.model, batches, target=target)
        else:
            peers.quantize_static(graph.model, peers.Reader(batches), method=peer, target=target)
        return onnx_session(target.read_bytes())


def accuracy(session: OnnxSession, evaluation: Batches) -> Score:
    return measure(session, evaluation, Top1(), lambda done: None).score


def main() -> None:
    parser = harness.parser_for(__doc__)
    parser.add_argument("--models", nargs="+", default=["resnet20", "resnet56"])
    parser.add_argument("--peers", nargs="+", default=[*peers.ORT_METHODS, peers.NNCF])
    parser.add_argument("--calib-images", type=int, default=320)
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3, 4, 5])
    options = parser.parse_args()
    print("| network | peer | calibration images | float | INT8, by seed | mean drop | smallest p of a loss |")
    print("|---|---|---|---|---|---|---|")
    for model in options.models:
        examples = Batches(samples=harness.calibration_images(options, model, 32, 1, None), size=32)
        graph = harness.float_network(options, model, examples).graph
        evaluation = Batches(samples=harness.evaluation_images(options, model), size=200)
        before = accuracy(OnnxSession(graph.model), evaluation)
        for peer in options.peers:
            found = []
            for seed in options.seeds:
                with contextlib.redirect_stdout(sys.stderr):  # the peers print messages
                    session = quantized(options, graph, model, peer, seed)
                found.append(paired_difference(before, accuracy(session, evaluation)))
            cells = harness.difference_cells(before.value, found)
            print(f"| {model} | {peer} | {options.calib_images} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
