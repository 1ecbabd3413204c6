"""Accuracy of every observer and width at both placements, by seed: like ``accuracy.py``, but in one process.

    python benchmarks/observers.py --data ../shared/data --checkpoints ../shared/checkpoints

The network is loaded, exported and measured in float once. Then each seed calibrates, exports and runs the INT8 file
twelve times.
"""

from __future__ import annotations

import argparse
from itertools import product

import harness
import onnx

from amctq.backends.native import NativeBackend
from amctq.backends.ptq_config import PtqConfig
from amctq.choices import ActAlgo, ActType, ArqRule, IfmrVariant, Placement, WeightType, usual_weight_algo
from amctq.data.samples import Batches
from amctq.export.qdq_onnx import build_qdq
from amctq.inference.metrics.measure import measure
from amctq.inference.metrics.score import Score
from amctq.inference.metrics.top1 import Top1
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
    parser.add_argument("--weight-bits", nargs="+", type=int, default=[8])
    parser.add_argument("--bias-correction", action=argparse.BooleanOptionalAction, default=True)
    options = parser.parse_args()
    print("| network | placement | observer | bits | float | INT8, by seed | mean drop | smallest p of a loss |")
    print("|---|---|---|---|---|---|---|---|")
    for model in options.models:
        evaluation = Batches(samples=harness.evaluation_images(options, model), size=200)
        network = harness.float_network(options, model, evaluation)
        before = _accuracy(network.graph.model, evaluation)
        for placement, algo, bits in product(options.placements, options.act_algos, options.weight_bits):
            config = _config(network, placement, algo, bits, bias_correction=options.bias_correction)
            measured = []
            for seed in options.seeds:
                images = harness.calibration_images(options, model, options.calib_images, seed, None)
                calibration = Batches(samples=images, size=200)
                measured.append(_measure(network, config, calibration, evaluation))
            cells = harness.difference_cells(before.value, [paired_difference(before, after) for after in measured])
            print(f"| {model} | {placement.value} | {algo.value} | {bits} | {cells} |", flush=True)


def _config(
    network: FloatNetwork, placement: Placement, algo: ActAlgo, bits: int, *, bias_correction: bool
) -> PtqConfig:
    """As ``amctq ptq`` has it by default, but for ort's scale for each channel of a Dense at 8 bits."""
    per_channel = bits < 8 and placement is Placement.ORT
    return PtqConfig(
        quant=default_config(
            network.topology, algo=algo, weight_bits=bits, weight_algo=usual_weight_algo, dense_per_channel=per_channel
        ),
        placement=placement,
        act_type=ActType.UINT8,
        weight_type=WeightType.INT8,
        ifmr_variant=IfmrVariant.EXACT,
        arq_rule=ArqRule.AMCT,
        bias_correction=bias_correction,
    )


def _measure(network: FloatNetwork, config: PtqConfig, calibration: Batches, evaluation: Batches) -> Score:
    quantized = NativeBackend().quantize(network=network, config=config, calibration=calibration, reporter=Reporter())
    return _accuracy(build_qdq(network.graph, quantized.layers, quantized.activations), evaluation)


def _accuracy(model: onnx.ModelProto, evaluation: Batches) -> Score:
    return measure(OnnxSession(model), evaluation, Top1(), lambda _: None).score


if __name__ == "__main__":
    main()
