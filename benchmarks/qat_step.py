"""A training step and an evaluation of the quantized network against those of the float network.

    python benchmarks/qat_step.py --data ../shared/data --checkpoints ../shared/checkpoints

A step is forward, backward and Momentum on one batch. The float network, the quantized one on MindSpore's operators and
the one on compiled operators run in turns in one process; the figures are medians.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import harness
import numpy as np

from amctq.backends.base import RetrainingNetwork
from amctq.backends.native import NativeBackend
from amctq.backends.ptq_config import PtqConfig
from amctq.choices import ActAlgo, ActType, ArqRule, IfmrVariant, Placement
from amctq.data.inputs import IMAGE
from amctq.data.samples import Batches
from amctq.networks.checkpoint import read_checkpoint
from amctq.networks.float_network import FloatNetwork
from amctq.networks.registry import find_model
from amctq.progress import Reporter
from amctq.quant.default_config import default_config
from amctq.quant.record import QuantRecord
from amctq.quant.retrain_config import default_retrain_config

BATCH = {"resnet20": 128, "resnet50": 32}
IMAGE_SIZE = 32  # at 224, the usual size of ResNet-50, a step takes fifty times as long
CALIBRATION = 32


def another(options: argparse.Namespace, model: str, first: FloatNetwork) -> FloatNetwork:
    """The same network once more, with its own parameters."""
    cell = find_model(model).build(10)
    with tempfile.TemporaryDirectory() as scratch:
        checkpoint = read_checkpoint(harness.checkpoint(options, model), Path(scratch))
        checkpoint.load_into(cell, model=model, num_classes=10)
    return FloatNetwork(cell=cell, graph=first.graph, topology=first.topology)


def calibrated(network: FloatNetwork, batches: Batches) -> QuantRecord:
    config = PtqConfig(
        quant=default_config(network.topology, algo=ActAlgo.MINMAX),
        placement=Placement.ASCEND,
        act_type=ActType.UINT8,
        ifmr_variant=IfmrVariant.EXACT,
        arq_rule=ArqRule.AMCT,
    )
    return NativeBackend().quantize(network=network, config=config, calibration=batches, reporter=Reporter()).record


def retraining(
    network: FloatNetwork, record: QuantRecord, bits: int, compiler: str | None
) -> tuple[RetrainingNetwork, str]:
    """A network with quantizers; ``compiler`` is the value of CC, empty for no compiler."""
    before = os.environ.get("CC")
    if compiler is not None:
        os.environ["CC"] = compiler
    try:
        config = default_retrain_config(network.topology, weight_bits=bits)
        quantized = NativeBackend().retrain(network=network, config=config, initial=record)
    finally:
        os.environ.pop("CC", None)
        if before is not None:
            os.environ["CC"] = before
    return quantized, quantized.operators


def step_of(cell: Any, images: Any, labels: Any) -> Callable[[], float]:
    from mindspore import nn

    optimizer = nn.Momentum(cell.trainable_params(), learning_rate=1e-6, momentum=0.9)
    step = nn.TrainOneStepCell(nn.WithLossCell(cell, nn.CrossEntropyLoss()), optimizer)
    step.set_train(True)
    return partial(seconds, partial(step, images, labels))


def seconds(work: Callable[[], Any]) -> float:
    start = time.perf_counter()
    work().asnumpy()
    return time.perf_counter() - start


def main() -> None:
    parser = harness.parser_for(__doc__)
    parser.add_argument("--models", nargs="+", choices=BATCH, default=list(BATCH))
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--weight-bits", type=int, default=8)
    options = parser.parse_args()
    print("| network | batch | what | float, ms | MindSpore's operators | compiled |")
    print("|---|---|---|---|---|---|")
    for model in options.models:
        measure(options, model)


def measure(options: argparse.Namespace, model: str) -> None:
    samples = harness.calibration_images(options, model, max(CALIBRATION, BATCH[model]), 1, IMAGE_SIZE)
    first = harness.float_network(options, model, Batches(samples=samples, size=CALIBRATION))
    import mindspore
    from mindspore import Tensor

    record = calibrated(first, Batches(samples=samples, size=CALIBRATION))
    mindspore.set_context(mode=mindspore.GRAPH_MODE)
    inputs, labels = next(iter(Batches(samples=samples, size=BATCH[model])))
    batch = Tensor(inputs[IMAGE]), Tensor(labels.astype(np.int32))
    cells = {"float": first.cell}
    for name, compiler in (("plain", ""), ("compiled", None)):
        quantized, operators = retraining(another(options, model, first), record, options.weight_bits, compiler)
        print(f"  {model}, {name}: {operators}", flush=True)
        cells[name] = quantized.cell
    steps = {name: step_of(cell, *batch) for name, cell in cells.items()}
    report(options, model, "training step", harness.in_turns(steps, rounds=options.rounds, warm_up=True))
    for cell in cells.values():
        cell.set_train(False)
    forwards = {name: partial(seconds, partial(cell, batch[0])) for name, cell in cells.items()}
    report(options, model, "evaluation", harness.in_turns(forwards, rounds=options.rounds, warm_up=True))


def report(options: argparse.Namespace, model: str, what: str, times: dict[str, list[float]]) -> None:
    median = {name: statistics.median(found) for name, found in times.items()}
    ratios = " | ".join(f"{median[name] / median['float']:.2f} ×" for name in ("plain", "compiled"))
    print(f"| {model} | {BATCH[model]} | {what} | {1000 * median['float']:.0f} | {ratios} |", flush=True)


if __name__ == "__main__":
    main()
