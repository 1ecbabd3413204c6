"""Speed and accuracy in OpenVINO: float, ``amctq ptq --target openvino``, and NNCF's own INT8 model of the same graph.

    python benchmarks/openvino_speed.py --dataset ../shared/data --model resnet20 \
        --ckpt ../shared/checkpoints/resnet20_cifar10.ckpt --batch 200

One run, in turns; what follows ``--`` goes to ``amctq ptq``. NNCF calibrates on the same images, one at a time, as in
its guide, with both presets. A speed is the median of all rounds.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import harness
import onnx

from amctq.choices import Device
from amctq.data.samples import Batches, split
from amctq.data.source import find_dataset
from amctq.inference.metrics.measure import measure
from amctq.inference.metrics.top1 import Top1
from amctq.inference.openvino_session import OpenVinoSession
from amctq.networks.registry import find_model
from amctq.networks.verified import load_network
from amctq.progress import Reporter
from amctq.runtime import resolve_device


def nncf_files(model: onnx.ModelProto, calibration: Batches) -> dict[str, bytes]:
    """NNCF's models, by preset."""
    import nncf

    nncf.set_log_level(logging.ERROR)
    found = {}
    for preset in (nncf.QuantizationPreset.PERFORMANCE, nncf.QuantizationPreset.MIXED):
        dataset = nncf.Dataset(list(calibration), lambda batch: dict(batch[0]))
        quantized = nncf.quantize(model, dataset, subset_size=len(calibration), preset=preset)
        found[f"NNCF {preset.value}"] = quantized.SerializeToString()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--ckpt", type=Path, required=True)
    parser.add_argument("--num-classes", type=int, default=10)
    parser.add_argument("--image-size", type=int)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--calib-images", type=int, default=32)
    parser.add_argument("--eval-images", type=int, default=None)
    parser.add_argument("--seed", type=int, default=1, help="which images calibrate")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("more", nargs="*")
    options = parser.parse_args()
    spec = find_model(options.model)
    preprocessing = spec.preprocessing(options.num_classes).changed(image_size=options.image_size)
    dataset = find_dataset(options.dataset).open(preprocessing)
    images = split(
        dataset,
        calibration_images=options.calib_images,
        evaluation_images=options.eval_images,
        seed=options.seed,
    )
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(sys.stderr):
        size = () if options.image_size is None else ("--image-size", str(options.image_size))
        few = () if options.eval_images is None else ("--eval-images", str(options.eval_images))
        words = (
            *(harness.AMCTQ, "ptq", "--target", "openvino", "--model", options.model, "--ckpt", options.ckpt),
            *("--dataset", options.dataset, "--num-classes", str(options.num_classes), *size, *few),
            *("--calib-images", str(options.calib_images), "--seed", str(options.seed)),
            *("--json", "--output-dir", folder, *options.more),
        )
        _, report = harness.run_json(words, what=options.model)
        own = Path(folder, report["files"]["onnx"]["name"]).read_bytes()
        graph = load_network(
            spec=spec,
            ckpt=options.ckpt,
            num_classes=options.num_classes,
            device=resolve_device(Device.CPU, None),
            examples=Batches(samples=images.calibration, size=8),
            scratch=Path(folder),
            reporter=Reporter(),
        ).network.graph
        files = {"float": graph.model.SerializeToString(), "amctq": own}
        files |= nncf_files(graph.model, Batches(samples=images.calibration, size=1))
    sessions = {name: OpenVinoSession(content) for name, content in files.items()}
    batch = Batches(samples=images.calibration, size=options.batch).first()

    def timed(session: OpenVinoSession) -> float:
        start = time.perf_counter()
        session.run(batch)
        return float(options.batch / (time.perf_counter() - start))

    turns: dict[str, Any] = {name: lambda session=session: timed(session) for name, session in sessions.items()}
    speeds = harness.in_turns(turns, rounds=options.rounds, warm_up=True)
    found = {name: {"images_per_second": round(statistics.median(speeds[name]), 1)} for name in files}
    if images.evaluation is not None:
        for name, session in sessions.items():
            evaluation = Batches(samples=images.evaluation, size=50)
            score = measure(session, evaluation, Top1(), lambda _: None).score
            found[name] |= {"top1": score.value}
    print(json.dumps({"model": options.model, "batch": options.batch, "found": found}))


if __name__ == "__main__":
    main()
