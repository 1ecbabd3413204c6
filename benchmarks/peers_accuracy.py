"""Accuracy of the peers on the calibration images that ``amctq ptq`` uses for the same seed: a Markdown row for each.

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
from amctq.inference.accuracy import LabelRanks, measure
from amctq.inference.onnx_session import OnnxSession, open_onnx
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
            peers.quantize_static(graph.model, peers.Reader(graph.input_name, batches), method=peer, target=target)
        return open_onnx(target)


def ranks(session: OnnxSession, evaluation: Batches) -> LabelRanks:
    return measure(session, evaluation, lambda done: None)


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
        before = ranks(OnnxSession(graph.model), evaluation)
        for peer in options.peers:
            found = []
            for seed in options.seeds:
                with contextlib.redirect_stdout(sys.stderr):  # the peers print messages
                    session = quantized(options, graph, model, peer, seed)
                found.append(paired_difference(before.hits, ranks(session, evaluation).hits))
            after = [before.top1 - difference.drop for difference in found]
            cells = harness.accuracy_cells(before.top1, after, [difference.p_value for difference in found])
            print(f"| {model} | {peer} | {options.calib_images} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
