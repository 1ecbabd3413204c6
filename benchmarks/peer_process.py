"""One run of a peer: load a checkpoint into MindSpore, export ONNX, quantize. ``process_time.py`` starts and times it.

python benchmarks/peer_process.py --data ../shared/data --checkpoints ../shared/checkpoints --peer percentile
"""

from __future__ import annotations

import os
import resource
import tempfile
from pathlib import Path
from typing import Any

import harness
import peers

from amctq.data.inputs import IMAGE
from amctq.data.samples import Batches


def export_float(checkpoint: Path, model: str, size: int) -> Any:
    """MindSpore's own export, converted to the opset that per-channel weights need."""
    os.environ.setdefault("GLOG_v", "4")
    import mindspore
    import onnx.version_converter

    from amctq.networks.registry import find_model

    cell = find_model(model).build(10)
    mindspore.load_param_into_net(cell, mindspore.load_checkpoint(str(checkpoint)))
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "float.onnx"
        mindspore.onnx.export(
            cell,
            mindspore.ops.zeros((1, 3, size, size), mindspore.float32),
            file_name=str(file),
            input_names=[IMAGE],
            output_names=["logits"],
            dynamic_axes={IMAGE: {0: "N"}},
        )
        exported = onnx.load(file)
    return onnx.version_converter.convert_version(exported, 17)


def main() -> None:
    parser = harness.parser_for(__doc__)
    parser.add_argument("--peer", choices=[*peers.ORT_METHODS, peers.NNCF], required=True)
    parser.add_argument("--model", default="resnet50")
    parser.add_argument("--images", type=int, default=32)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--batch-size", type=int, default=8, help="images in a batch for onnxruntime")
    parser.add_argument("--memory-limit", type=float, help="GiB of address space that the process may use")
    options = parser.parse_args()
    if options.memory_limit:
        limit = int(options.memory_limit * 2**30)
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))

    samples = harness.calibration_images(options, options.model, options.images, options.seed, None)
    model = export_float(harness.checkpoint(options, options.model), options.model, samples.inputs[IMAGE].shape[1])
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "int8.onnx"
        if options.peer == peers.NNCF:
            # One image at a time, as in its guide: it averages over a batch.
            peers.quantize_nncf(model, Batches(samples=samples, size=1), target=target)
            return
        batches = Batches(samples=samples, size=options.batch_size)
        reader = peers.Reader(batches, log=options.memory_limit is not None)
        peers.quantize_static(model, reader, method=options.peer, target=target)


if __name__ == "__main__":
    main()
