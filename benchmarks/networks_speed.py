"""INT8 speed of one network in onnxruntime: amctq's file against every variant of ``quantize_static``, and float.

    python benchmarks/networks_speed.py --folder work/regnet_x_200mf --size 224 --data ../shared/data/imagenet_sample

``networks.py`` starts it. All files come from the same float graph and the same calibration images, and are timed in
turns, in sessions with onnxruntime's own settings, as a program opens them. ``fastest`` is the fastest peer that
quantizes nearly all layers; ``fastest_of_all`` may also be a file that leaves the convolutions in float, which is
hardly an INT8 network. Where INT8 is slower than float, both are profiled.
The last line of stdout is the answer, as JSON.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import harness
import networks_compare
import networks_prepare
import numpy as np
import onnx
import onnxruntime
import peers
from onnxruntime.quantization import QuantType

from amctq.data.inputs import Inputs
from amctq.data.samples import Batches
from amctq.graph.float_graph import FloatGraph
from amctq.inference.onnx_session import OnnxSession
from amctq.inference.session import Outputs, Session

# The speed of a file does not depend on how good its ranges are.
_CALIBRATION = 16
_PROFILED = 5
_IN_FLOAT = 0.1  # of the layers, in a file that is called INT8
_LISTED = 12
# Without VNNI, int8 weights of 8 bits are fast and their sums saturate, uint8 ones are exact and slower, and 7 bits are
# exact and fast. With VNNI the first two are one file.
_AMCTQ = {"amctq": (), "amctq --isa vnni": ("--isa", "vnni"), "amctq --weight-bits 7": ("--weight-bits", "7")}
_SHORT = {QuantType.QUInt8: "U8", QuantType.QInt8: "S8"}


def variants() -> dict[str, peers.Variant]:
    """What ``quantize_static`` can be told that changes the kernels, by name."""
    types = ((QuantType.QUInt8, QuantType.QInt8), (QuantType.QUInt8, QuantType.QUInt8), (QuantType.QInt8,) * 2)
    found = {}
    for (activations, weights), per_channel in itertools.product(types, (True, False)):
        variant = peers.Variant(activations=activations, weights=weights, per_channel=per_channel)
        found[_name(variant)] = variant
    for more in (
        peers.Variant(reduce_range=True),
        peers.Variant(reduce_range=True, per_channel=False),
        peers.Variant(qdq=False),
        peers.Variant(only=("Conv", "Gemm", "MatMul")),
        peers.Variant(only=("Conv", "Gemm", "MatMul", "Add", "Mul")),
        peers.Variant(only=("Gemm", "MatMul")),
    ):
        found[_name(more)] = more
    return found


def _name(variant: peers.Variant) -> str:
    parts = [
        _SHORT[variant.activations] + _SHORT[variant.weights],
        "per channel" if variant.per_channel else "per tensor",
        *(["reduce_range"] if variant.reduce_range else []),
        *([] if variant.qdq else ["QOperator"]),
        *([f"only {' '.join(variant.only)}"] if variant.only else []),
    ]
    return ", ".join(parts)


def peer_files(graph: FloatGraph, calibration: Batches) -> tuple[dict[str, bytes], dict[str, str]]:
    """The file of every variant by its name, and why the others have none."""
    files, errors = {}, {}
    for name, variant in variants().items():
        with tempfile.TemporaryDirectory() as folder, networks_compare.messages_on_stderr():
            target = Path(folder) / "int8.onnx"
            try:
                networks_compare.quantize(graph, calibration, target, variant)
                OnnxSession(target.read_bytes())  # some are written, but onnxruntime has no kernel for them
            except Exception as error:
                errors[name] = " ".join(f"{type(error).__name__}: {error}".split())[:200]
            else:
                files[name] = target.read_bytes()
    return files, errors


def amctq_file(options: argparse.Namespace, folder: Path, more: Sequence[str]) -> bytes:
    """The INT8 file of ``amctq ptq``; a failure ends the process with its message."""
    command: list[str | Path] = [
        *(sys.executable, "-m", "amctq", "ptq", "--dataset", options.data, "--image-size", str(options.size)),
        *("--model", f"{options.folder / networks_prepare.MODEL_FILE}:create", "--json", "--output-dir", folder),
        *("--ckpt", options.folder / networks_prepare.CHECKPOINT, "--num-classes", str(networks_prepare.CLASSES)),
        *("--calib-images", str(_CALIBRATION), "--eval-images", "0", *more, *options.more),
    ]
    harness.run_json(command, what=options.folder.name)
    return (folder / networks_prepare.INT8_FILE).read_bytes()


def profile(model: bytes, batch: Inputs) -> dict[str, float]:
    """Milliseconds of a run by operator, the slowest first."""
    with tempfile.TemporaryDirectory() as folder:
        settings = onnxruntime.SessionOptions()
        settings.enable_profiling = True
        settings.profile_file_prefix = str(Path(folder) / "profile")
        session = onnxruntime.InferenceSession(model, settings, providers=["CPUExecutionProvider"])
        for _ in range(_PROFILED + 1):
            session.run(None, dict(batch))
        events = json.loads(Path(session.end_profiling()).read_text())
    times: Counter[str] = Counter()
    kernels = [event for event in events if event["cat"] == "Node" and event["name"].endswith("_kernel_time")]
    # Every run yields the same events in the same order; the first one allocates.
    for event in kernels[len(kernels) // (_PROFILED + 1) :]:
        times[event["args"]["op_name"]] += event["dur"]
    return {name: round(time / 1000 / _PROFILED, 2) for name, time in times.most_common(_LISTED)}


class PlainSession(Session):
    """A session with onnxruntime's own settings. amctq's are exact on every CPU, and slower without VNNI."""

    def __init__(self, content: bytes) -> None:
        self._session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])

    def run(self, inputs: Inputs) -> Outputs:
        return tuple(self._session.run(None, dict(inputs)))


def measure(options: argparse.Namespace) -> dict[str, Any]:
    chosen = networks_prepare.images(options.data, options.size)
    few = chosen.calibration.take(np.arange(_CALIBRATION))
    graph = networks_compare.float_graph(options.folder, Batches(samples=few, size=_CALIBRATION))
    files = {}
    for name, more in _AMCTQ.items():
        with tempfile.TemporaryDirectory() as folder:
            files[name] = amctq_file(options, Path(folder), more)
    peer, errors = peer_files(graph, Batches(samples=few, size=1))
    files |= peer
    files["float"] = graph.model.SerializeToString()
    sessions = {name: PlainSession(content) for name, content in files.items()}
    assert chosen.evaluation is not None
    batch = Batches(samples=chosen.evaluation, size=options.batch).first()
    speed = networks_compare.images_per_second(sessions, batch, rounds=options.rounds)
    layers = networks_compare.layers(graph.model)
    in_float = {
        name: len(networks_compare.float_weights(onnx.load_model_from_string(content)))
        for name, content in files.items()
    }
    whole = [name for name in peer if in_float[name] <= max(_IN_FLOAT * layers, in_float["amctq"])]
    best = max(_AMCTQ, key=speed.__getitem__)
    answer: dict[str, Any] = {
        "batch": options.batch,
        "images_per_second": {name: round(value, 2) for name, value in speed.items()},
        "fastest": max(whole, key=speed.__getitem__, default=None),
        "fastest_of_all": max(peer, key=speed.__getitem__, default=None),
        "layers": layers,
        "float_layers": in_float,
        "errors": errors,
    }
    if speed[best] < speed["float"]:
        answer["profile"] = {name: profile(files[name], batch) for name in ("float", best)}
    return answer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True, help="of networks_prepare.py")
    parser.add_argument("--size", type=int, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("more", nargs="*", help="after --: further options of amctq ptq")
    answer = measure(parser.parse_args())
    print(f"\n{json.dumps(answer)}", flush=True)
    os._exit(0)  # MindSpore's cells complain when the interpreter takes them down


if __name__ == "__main__":
    main()
