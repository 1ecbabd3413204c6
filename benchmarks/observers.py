"""Accuracy of every observer at both placements, by seed: like ``accuracy.py``, but in one process.

    python benchmarks/observers.py --data ../shared/data --checkpoints ../shared/checkpoints

The network is loaded, exported and measured in float once. Then each seed calibrates, exports and runs the INT8 file
twelve times.
"""

from __future__ import annotations

from itertools import product

import harness

from amctq.backends.base import PtqConfig
from amctq.backends.native import NativeBackend
from amctq.choices import ActAlgo, ActType, ArqRule, IfmrVariant, Placement, WeightType
from amctq.data.samples import Batches
from amctq.export.qdq_onnx import build_qdq
from amctq.inference.accuracy import LabelRanks, measure
from amctq.inference.onnx_session import OnnxSession
from amctq.inference.paired import paired_difference
from amctq.networks.float_network import FloatNetwork
from amctq.progress import Reporter
from amctq.quant.default_config import default_config


def main() -> None:
    parser = harness.parser_for(__doc__)
    parser.add_argument("--models", nargs="+", default=["resnet20", "resnet56"])
    parser.add_argument("--calib-images", type=int, default=320)
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3, 4, 5])
    parser.add_argument("--placements", nargs="+", type=Placement, default=list(Placement))
    parser.add_argument("--act-algos", nargs="+", type=ActAlgo, default=list(ActAlgo))
    options = parser.parse_args()
    print("| network | placement | observer | float | INT8, by seed | mean drop | smallest p of a loss |")
    print("|---|---|---|---|---|---|---|")
    for model in options.models:
        evaluation = Batches(samples=harness.evaluation_images(options, model), size=200)
        network = harness.float_network(options, model, evaluation)
        before = measure(OnnxSession(network.graph.model), evaluation, lambda _: None)
        for placement, algo in product(options.placements, options.act_algos):
            measured = []
            for seed in options.seeds:
                images = harness.calibration_images(options, model, options.calib_images, seed, None)
                calibration = Batches(samples=images, size=200)
                measured.append(_measure(network, placement, algo, calibration, evaluation))
            cells = harness.accuracy_cells(
                before.top1,
                [after.top1 for after in measured],
                [paired_difference(before.hits, after.hits).p_value for after in measured],
            )
            print(f"| {model} | {placement.value} | {algo.value} | {cells} |", flush=True)


def _measure(
    network: FloatNetwork, placement: Placement, algo: ActAlgo, calibration: Batches, evaluation: Batches
) -> LabelRanks:
    config = PtqConfig(
        quant=default_config(network.topology, algo=algo),
        placement=placement,
        act_type=ActType.UINT8,
        weight_type=WeightType.INT8,
        ifmr_variant=IfmrVariant.EXACT,
        arq_rule=ArqRule.AMCT,
    )
    quantized = NativeBackend().quantize(network=network, config=config, calibration=calibration, reporter=Reporter())
    session = OnnxSession(build_qdq(network.graph, quantized.layers, quantized.activations))
    return measure(session, evaluation, lambda _: None)


if __name__ == "__main__":
    main()
