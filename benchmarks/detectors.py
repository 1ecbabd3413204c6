"""Networks of MindYOLO and MindOCR through amctq: a Markdown table, from a network to its INT8 file.

    python benchmarks/detectors.py --work detectors --configs mindyolo/configs --data ../shared/data/imagenet_sample
    python benchmarks/detectors.py --work detectors --table

Three steps, each in a process of its own: ``prepare`` writes the model file and a checkpoint (random weights, BatchNorm
with the statistics of photographs, as networks_prepare.py), ``ptq`` is amctq, and ``compare`` measures its file and the
one of onnxruntime's quantize_static, from the same float graph and the same samples. Results are lines of
WORK/results.jsonl; what stands there is not measured again. What follows ``--`` goes to ``amctq ptq``.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

import harness
import numpy as np
from networks_prepare import CHECKPOINT, INT8_FILE, MODEL_FILE, SEED, draw_constants, set_statistics

# The smallest configuration of each version.
MINDYOLO = {
    "yolov3": "yolov3/yolov3.yaml",
    "yolov5": "yolov5/yolov5n.yaml",
    "yolov7": "yolov7/yolov7-tiny.yaml",
    "yolov8": "yolov8/yolov8n.yaml",
    "yolov9": "yolov9/yolov9-t.yaml",
    "yolov10": "yolov10/yolov10n.yaml",
    "yolov11": "yolov11/yolov11-n.yaml",
    "yolox": "yolox/yolox-nano.yaml",
}
MINDOCR = ("dbnet", "crnn")  # of mindocr_networks.py
NETWORKS = (*MINDYOLO, *MINDOCR)
_LINES = {"crnn": "32x100"}  # recognisers read lines of text
_OF_MINDYOLO = """from mindyolo.models import create_model
from mindyolo.utils.config import Config, load_config


def create():
    network = Config(load_config({path!r})[0]).network
    return create_model(model_name=network.model_name, model_cfg=network, num_classes=80)
"""
_OF_MINDOCR = """import sys

sys.path.append({folder!r})
from mindocr_networks import {name} as create
"""
_DATASET = f"{Path(__file__).with_name('detectors_data.py')}:photographs"


def model_file(name: str, configs: Path) -> str:
    """The user's file that ``--model`` names."""
    if name in MINDOCR:
        return _OF_MINDOCR.format(folder=str(Path(__file__).parent), name=name)
    return _OF_MINDYOLO.format(path=str(configs.resolve() / MINDYOLO[name]))


def prepare(folder: Path) -> dict[str, Any]:
    """Write the checkpoint of the model file in ``folder``."""
    import mindspore
    from detectors_data import photographs

    from amctq.networks.registry import find_model

    mindspore.set_context(mode=mindspore.PYNATIVE_MODE)
    mindspore.set_seed(SEED)
    cell = find_model(f"{folder / MODEL_FILE}:create").build(0)
    draw_constants(cell)
    batch = np.stack([image for image, _ in photographs("train")[:16]])
    norms = set_statistics(cell, {"x": batch})
    mindspore.save_checkpoint(cell, str(folder / CHECKPOINT))
    return {"batch_norms": norms, "parameters": sum(parameter.size for parameter in cell.get_parameters())}


def compare(folder: Path) -> dict[str, Any]:
    """SQNR of every output, of amctq's file and of that of quantize_static, and what is quantized behind the heads."""
    from networks_compare import float_graph, messages_on_stderr, quantize, sqnr

    from amctq.data.preprocess import IMAGENET_224
    from amctq.data.samples import Batches
    from amctq.data.source import find_dataset
    from amctq.inference.onnx_session import OnnxSession

    dataset = find_dataset(_DATASET).open(IMAGENET_224)
    assert dataset.train is not None
    assert dataset.test is not None
    graph = float_graph(folder, Batches(samples=dataset.train, size=8))
    (name,) = graph.inputs
    train, test = (samples.renamed({next(iter(samples.inputs)): name}) for samples in (dataset.train, dataset.test))
    peer = folder / "quantize_static.onnx"
    with messages_on_stderr():
        quantize(graph, Batches(samples=train, size=1), peer)
    reference = OnnxSession(graph.model)
    found: dict[str, Any] = {"outputs": list(graph.outputs), "behind": integers_behind(graph, folder / "ptq")}
    for key, file in (("amctq", folder / "ptq" / INT8_FILE), ("quantize_static", peer)):
        session = OnnxSession(file.read_bytes())
        pairs = [(reference.run(inputs), session.run(inputs)) for inputs, _ in Batches(samples=test, size=8)]
        found[key] = [
            round(sqnr(*(np.concatenate([pair[way][index] for pair in pairs]) for way in (0, 1))), 1)
            for index in range(len(graph.outputs))
        ]
    return found


def integers_behind(graph: Any, folder: Path) -> list[str]:
    """The tensors behind the last layers, but for what these yield, that are quantized."""
    from amctq.graph.float_parts import last_layers
    from amctq.graph.topology import read_topology

    topology = read_topology(graph)
    predictions = last_layers(graph, topology).predictions
    reached = {layer.output for layer in topology.layers if layer.name in predictions}
    own = set(reached)
    for node in graph.model.graph.node:
        if not reached.isdisjoint(node.input):
            reached.update(node.output)
    sites = json.loads((folder / "placement.json").read_text())["tensors"]
    return sorted((reached - own) & {site["tensor"] for site in sites})


def measure(options: argparse.Namespace, name: str) -> dict[str, Any]:
    """All steps of one network."""
    folder: Path = options.work / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MODEL_FILE).write_text(model_file(name, options.configs))
    os.environ["DETECTORS_IMAGES"] = str(options.data.resolve())
    os.environ["DETECTORS_SIZE"] = _LINES.get(name, f"{options.size}x{options.size}")
    ptq: list[str | Path] = [
        *(sys.executable, "-m", "amctq", "ptq", "--model", f"{folder / MODEL_FILE}:create"),
        *("--ckpt", folder / CHECKPOINT, "--dataset", _DATASET, "--batch-size", "8", "--json", "--force"),
        *("--output-dir", folder / "ptq", *options.more),
    ]
    own = [sys.executable, Path(__file__), "--work", options.work, "--networks", name, "--step"]
    steps = {"prepare": [*own, "prepare"], "ptq": ptq, "compare": [*own, "compare"]}
    if (folder / CHECKPOINT).exists():
        del steps["prepare"]
    found: dict[str, Any] = {"network": name, "size": os.environ["DETECTORS_SIZE"], "options": options.more}
    for step, command in steps.items():
        with (folder / f"{step}.log").open("w") as log:
            process = harness.run_process(command, check=False, log=log, limit=options.limit)
        found[step] = {"exit_code": process.code, "seconds": round(process.seconds, 1)}
        lines = process.stdout.strip().splitlines()
        answer = json.loads(lines[-1]) if lines and (step == "ptq" or not process.code) else {}
        if step == "ptq":
            data = answer.get("data") or {}
            quantization = data.get("quantization") or {"layers": [], "left_in_float": []}
            found["message"] = "; ".join(error["message"] for error in answer.get("errors", ()))
            found["layers"] = len(quantization["layers"])
            found["left_in_float"] = quantization["left_in_float"]
        else:
            found |= answer
        if process.code:
            break
    return found


def show(results: list[dict[str, Any]]) -> None:
    """Print the table."""
    print(
        "| network | input | ptq | layers INT8, float | SQNR of the outputs, dB | quantize_static | behind the heads |"
    )
    print("|" + "---|" * 7)
    for found in results:
        cells = [
            *(" ".join((found["network"], *found["options"])), found["size"]),
            found["ptq"]["exit_code"] if "ptq" in found else "prepare failed",
            f"{found['layers']}, {len(found['left_in_float'])}" if found.get("layers") else found.get("message", ""),
            *(" ".join(f"{value:.1f}" for value in found.get(key, ())) for key in ("amctq", "quantize_static")),
            "float" if found.get("behind") == [] else f"{len(found['behind'])} integer" if "behind" in found else "",
        ]
        print(f"| {' | '.join(map(str, cells))} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder for the networks and the results")
    parser.add_argument("--configs", type=Path, default=Path("configs"), help="the folder of MindYOLO's repository")
    parser.add_argument("--data", type=Path, help="folder of photographs")
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=NETWORKS)
    parser.add_argument("--size", type=int, default=256, help="height and width")
    parser.add_argument("--limit", type=float, default=3600, help="seconds that a step may take")
    parser.add_argument("--table", action="store_true", help="print the table, measure nothing")
    parser.add_argument("--step", choices=("prepare", "compare"), help=argparse.SUPPRESS)
    parser.add_argument("more", nargs="*", help="after --: further options of amctq ptq")
    options = parser.parse_args()
    if options.step:
        os.environ.setdefault("GLOG_v", "4")
        step = prepare if options.step == "prepare" else compare
        print(f"\n{json.dumps(step(options.work / options.networks[0]))}", flush=True)
        os._exit(0)  # MindSpore's cells complain when the interpreter takes them down
    options.work = options.work.resolve()
    options.work.mkdir(parents=True, exist_ok=True)
    file = options.work / "results.jsonl"
    results = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
    done = {(found["network"], tuple(found["options"])) for found in results}
    for name in () if options.table else options.networks:
        if (name, tuple(options.more)) not in done:
            results.append(measure(options, name))
            with file.open("a") as lines:
                lines.write(json.dumps(results[-1]) + "\n")
    show(results)


if __name__ == "__main__":
    main()
