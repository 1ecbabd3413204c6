"""``amctq analyze``: its time against plain ``ptq``, and its order of layers against the truth.

    python benchmarks/sensitivity.py --data ../shared/data --checkpoints ../shared/checkpoints --what time
    python benchmarks/sensitivity.py --data ../shared/data --checkpoints ../shared/checkpoints --what order
    python benchmarks/sensitivity.py --data ../shared/data/imagenet_sample --checkpoints ../shared/networks \
        --what order --images 300 -- --model ../shared/networks/efficientnet_lite0.py:efficientnet_lite0 \
        --ckpt ../shared/networks/efficientnet_lite0_imagenet.ckpt --num-classes 1000 \
        --mean 0.49803922,0.49803922,0.49803922 --std 0.50196078,0.50196078,0.50196078

``time``: whole processes on the same samples, in turns. ``order``: each layer quantized alone to 2 bits, rounded one by
one; the truth is the accuracy on 2,000 training samples that neither calibrate nor measure the layers, the order that
of report.json, and the figure Spearman's rank correlation of the two. With --rounding gptq nearly no layer of a CIFAR
network loses anything, and the truth is noise.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import harness
import numpy as np
from scipy.stats import spearmanr

if TYPE_CHECKING:
    from amctq.services.analyze.analyze import AnalyzeResult

# The samples that calibrate, and as many that evaluate or measure the layers.
TIMES = {"resnet56": 64, "resnet50": 32}
ROUNDINGS = {"arq": ("--weight-algo", "arq", "--no-bias-correction"), "gptq": ()}


def main() -> None:
    parser = harness.parser_for(__doc__)
    parser.add_argument("--what", choices=("time", "order"), required=True)
    parser.add_argument("--models", nargs="+", help="default: resnet56 and resnet50 (time), resnet20 (order)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--images", type=int, default=2000, help="that say what is true")
    parser.add_argument("--tuning-images", type=int, default=64)
    parser.add_argument("--rounding", choices=ROUNDINGS, default="arq")
    parser.add_argument("more", nargs="*", help="after --: the network, for order; and further options of amctq")
    options = parser.parse_args()
    if options.what == "time":
        compare_times(options)
    else:
        compare_orders(options)


def compare_times(options: argparse.Namespace) -> None:
    print("| network | samples for each role | ptq, s | analyze, s | ratio | of CPU |")
    print("|---|---|---|---|---|---|")
    for model in options.models or TIMES:
        turns = {command: partial(_run, options, model, command) for command in ("ptq", "analyze")}
        found = harness.in_turns(turns, rounds=options.rounds, warm_up=False)
        seconds, cpu = (
            {command: statistics.median(getattr(run, name) for run in runs) for command, runs in found.items()}
            for name in ("seconds", "cpu_seconds")
        )
        print(
            f"| {model} | {TIMES.get(model, 64)} | {seconds['ptq']:.1f} | {seconds['analyze']:.1f} "
            f"| {seconds['analyze'] / seconds['ptq']:.2f} | {cpu['analyze'] / cpu['ptq']:.2f} |",
            flush=True,
        )


def _run(options: argparse.Namespace, model: str, command: str) -> harness.Finished:
    images = str(TIMES.get(model, 64))
    with tempfile.TemporaryDirectory() as folder:
        line = [
            *(harness.AMCTQ, command, "--dataset", options.data, "--model", model),
            *("--ckpt", harness.checkpoint(options, model), "--calib-images", images, "--allow-poor-float"),
            *("--eval-images" if command == "ptq" else "--tuning-images", images),
            *("--json", "--output-dir", folder, *options.more),
        ]
        process, _ = harness.run_json(line, what=f"{command} {model}")
        return process


def compare_orders(options: argparse.Namespace) -> None:
    print("| network | layers | samples of analyze | samples of the truth | drops, points | Spearman |")
    print("|---|---|---|---|---|---|")
    own = options.more and "--model" in options.more
    for model in [options.more[options.more.index("--model") + 1]] if own else options.models or ["resnet20"]:
        network = () if own else ("--model", model, "--ckpt", harness.checkpoint(options, model))
        found, drops = _orders(options, network)
        layers = [layer.name for layer in found.sensitivity.layers]
        correlation = spearmanr(range(len(layers)), [-drops[name] for name in layers]).statistic
        print(
            f"| {Path(model).stem} | {len(layers)} | {found.sensitivity.samples} | {options.images} "
            f"| {min(drops.values()):.2f} to {max(drops.values()):.2f} | {correlation:.3f} |",
            flush=True,
        )


def _orders(options: argparse.Namespace, network: tuple[Any, ...]) -> tuple[AnalyzeResult, dict[str, float]]:
    """What analyze finds, and by layer the points that are lost where it alone is quantized."""
    import amctq
    from amctq.cli.analyze import analyze
    from amctq.inference.metrics.measure import measure
    from amctq.inference.metrics.top1 import Top1
    from amctq.inference.onnx_session import OnnxSession

    with tempfile.TemporaryDirectory() as folder:
        words = [
            *("--dataset", options.data, *network, "--weight-bits", "2", *ROUNDINGS[options.rounding]),
            *("--tuning-images", options.tuning_images, "--output-dir", folder, *options.more),
        ]
        request = _parsed(analyze.typer_command(), analyze.request(), [str(word) for word in words])
        found = amctq.analyze(request)
    batches = _other_samples(options, found)
    before = measure(found.verified.session, batches, Top1(), lambda done: None).score
    drops = {}
    for layer in found.sensitivity.layers:
        session = OnnxSession(found.quantized.only({layer.name}, attention=False).onnx_graph())
        drops[layer.name] = before.drop_to(measure(session, batches, Top1(), lambda done: None).score)
    return found, drops


def _parsed(command: Any, request: Any, words: list[str]) -> Any:
    """A request from the words of a command line."""
    from amctq.cli.from_request import make_request

    given = command.make_context("analyze", words).params
    return make_request(request, {name: value for name, value in given.items() if name in request.options()})


def _other_samples(options: argparse.Namespace, found: AnalyzeResult) -> Any:
    """Training samples with no role so far."""
    plan, split = found.plan, found.split
    assert split.tuning is not None
    dataset = plan.data.open(plan.request.preprocessing(plan.spec))
    pool = dataset.train or dataset.test
    assert pool is not None
    used = np.concatenate([split.calibration.indices, split.tuning.indices])
    free = np.flatnonzero(~np.isin(pool.indices, used))
    chosen = np.sort(np.random.default_rng(7).choice(free, options.images, replace=False))
    return plan.batches(pool.take(chosen).renamed(found.verified.names))


if __name__ == "__main__":
    main()
