"""The INT8 file of ``amctq ptq`` and that of ``quantize_static``, against the float network. ``networks.py`` starts it.

python benchmarks/networks_compare.py --folder work/regnet_x_200mf --size 224 --data ../shared/data/imagenet_sample

Both files come from the same float graph and the same calibration images. The last line of stdout is the answer, as
JSON: for each file the images with the float network's class, SQNR of the logits in dB, images per second measured in
turns, and the layers whose weights are float.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import harness
import networks_prepare
import numpy as np
import onnx
import peers

from amctq.data.inputs import Inputs, part, samples_in
from amctq.data.samples import Batches
from amctq.graph.float_graph import FloatGraph
from amctq.inference.onnx_session import OnnxSession, onnx_session
from amctq.inference.session import Session
from amctq.quant.numerics import Float32Array

_LAYERS = {"Conv", "ConvTranspose", "Gemm", "MatMul", "LSTM", "GRU"}
# What a constant may pass on its way to a layer and still be its weights.
_PASSED = {"Cast", "Concat", "Expand", "Identity", "Reshape", "Slice", "Split", "Squeeze", "Transpose", "Unsqueeze"}


def float_graph(folder: Path, examples: Batches) -> FloatGraph:
    """The float graph that ``amctq ptq`` makes of the network in ``folder``; it publishes no file of it."""
    from amctq.choices import Device
    from amctq.networks.registry import find_model
    from amctq.networks.verified import load_network
    from amctq.progress import Reporter
    from amctq.runtime import resolve_device

    with tempfile.TemporaryDirectory() as scratch:
        return load_network(
            spec=find_model(f"{folder / networks_prepare.MODEL_FILE}:create"),
            ckpt=folder / networks_prepare.CHECKPOINT,
            num_classes=networks_prepare.CLASSES,
            device=resolve_device(Device.CPU, None),
            examples=examples,
            scratch=Path(scratch),
            reporter=Reporter(),
        ).network.graph


def float_weights(model: onnx.ModelProto) -> list[dict[str, str]]:
    """The layers of a file that read constant weights in float: ``node`` and ``weight``, its initializer.

    The file is asked, not the report: weights are followed through transpositions, splits and the like.
    """
    producers = {name: node for node in model.graph.node for name in node.output}
    initializers = {item.name for item in model.graph.initializer}

    def source(name: str) -> str | None:
        """The float constant that ``name`` is made of, or None."""
        if name in initializers:
            return name
        node = producers.get(name)
        if node is None:
            return None
        if node.op_type == "Constant":
            return name
        return source(node.input[0]) if node.op_type in _PASSED else None

    found, tables = [], set(initializers)
    for node in model.graph.node:
        if tables.issuperset(filter(None, node.input)):  # onnxruntime computes it when it loads the file
            tables.update(node.output)
        elif node.op_type in _LAYERS:
            data, weight = map(source, node.input[:2])
            constant = weight or (data if node.op_type in {"Gemm", "MatMul"} else None)
            found += [{"node": node.name, "weight": constant}] if constant is not None else []
    return found


def layers(model: onnx.ModelProto) -> int:
    """How many layers with constant weights a float graph has."""
    return len(float_weights(model))


def sqnr(before: Float32Array, after: Float32Array) -> float:
    """10 log10(Σ before² / Σ (before - after)²)."""
    signal = np.sum(np.square(before, dtype=np.float64))
    noise = np.sum(np.square(before.astype(np.float64) - after))
    return float(10 * np.log10(signal / max(noise, np.finfo(np.float64).tiny)))


def logits(session: Session, batches: Batches) -> Float32Array:
    return np.concatenate([session.run(inputs)[0] for inputs, _ in batches])


def seconds(session: Session, batch: Inputs) -> float:
    start = time.perf_counter()
    session.run(batch)
    return time.perf_counter() - start


def images_per_second(sessions: Mapping[str, Session], batch: Inputs, *, rounds: int) -> dict[str, float]:
    """Of every session, by its median time; measured in turns."""
    turns = {name: partial(seconds, session, batch) for name, session in sessions.items()}
    times = harness.in_turns(turns, rounds=rounds, warm_up=True)
    return {name: samples_in(batch) / statistics.median(found) for name, found in times.items()}


def quantize(graph: FloatGraph, calibration: Batches, target: Path, variant: peers.Variant | None = None) -> str:
    """Let ``quantize_static`` write ``target``; returns how it prepared the graph.

    Its symbolic shape inference does not know every operator; then the pre-processing is done without.
    """
    for symbolic in (True, False):
        reader = peers.Reader(calibration)
        try:
            peers.quantize_static(
                graph.model,
                reader,
                method="minmax",
                target=target,
                variant=variant or peers.Variant(),
                symbolic_shapes=symbolic,
            )
        except Exception:
            if not symbolic:
                raise
        else:
            return "pre-processed" if symbolic else "pre-processed without symbolic shapes"
    raise AssertionError  # the loop returns or raises


@contextlib.contextmanager
def messages_on_stderr() -> Iterator[None]:
    """Of the peers, which print; stdout is for the answer."""
    with contextlib.redirect_stdout(sys.stderr):
        yield


def compare(options: argparse.Namespace) -> dict[str, Any]:
    chosen = networks_prepare.images(options.data, options.size)
    assert chosen.evaluation is not None
    evaluation = Batches(samples=chosen.evaluation, size=32)
    graph = float_graph(options.folder, Batches(samples=chosen.calibration, size=32))
    sessions: dict[str, Session] = {"float": OnnxSession(graph.model)}
    answer: dict[str, Any] = {"layers": layers(graph.model)}
    files = {"amctq": options.file} if options.file else {}
    peer = options.folder / "quantize_static.onnx"
    start = time.perf_counter()
    try:
        with messages_on_stderr():  # one image at a time, as in its guide
            how = quantize(graph, Batches(samples=chosen.calibration, size=1), peer)
        answer["quantize_static"] = {"how": how, "seconds": round(time.perf_counter() - start, 1)}
        files["quantize_static"] = peer
    except Exception as error:
        answer["quantize_static"] = {"error": " ".join(f"{type(error).__name__}: {error}".split())[:300]}
    reference = logits(sessions["float"], evaluation)
    answer["classes"] = len(np.unique(reference.argmax(axis=1)))
    for name, file in files.items():
        content = file.read_bytes()
        sessions[name] = onnx_session(content)
        found = logits(sessions[name], evaluation)
        answer.setdefault(name, {}).update(
            agreement=round(100 * float(np.mean(found.argmax(axis=1) == reference.argmax(axis=1))), 2),
            sqnr=round(sqnr(reference, found), 2),
            bytes=len(content),
            float_weights=float_weights(onnx.load_model_from_string(content)),
        )
    batch = part(evaluation.first(), slice(options.batch))
    speed = images_per_second(sessions, batch, rounds=options.rounds)
    for name, value in speed.items():
        answer.setdefault(name, {})["images_per_second"] = round(value, 2)
    return answer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True, help="of networks_prepare.py")
    parser.add_argument("--size", type=int, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--file", type=Path, help="the INT8 file of amctq ptq; without it the peer is measured alone")
    parser.add_argument("--batch", type=int, default=8, help="images at once, for the speed")
    parser.add_argument("--rounds", type=int, default=9)
    answer = compare(parser.parse_args())
    print(f"\n{json.dumps(answer)}", flush=True)
    os._exit(0)  # MindSpore's cells complain when the interpreter takes them down


if __name__ == "__main__":
    main()
