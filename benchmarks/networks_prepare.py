"""One network of mindcv as its user has it: a model file and a checkpoint. ``networks.py`` starts this file.

    python benchmarks/networks_prepare.py --model regnet_x_200mf --size 224 --data ../shared/data/imagenet_sample \
        --folder work/regnet_x_200mf

The weights are random, by a fixed seed, but the network is not degenerate:

- Each BatchNorm has the statistics of what it reads, for real images.
- What mindcv sets to a constant (gamma, beta, biases, layer scales of 1e-6) is drawn: a branch that is multiplied by
  nearly zero hides every error in it.
- The last layer recognises the evaluation images by their features, as a trained one would: the row of an image's class
  is the image's difference from the mean image. With random rows a network names one class for all images, or its best
  logits are so close that any rounding exchanges them; the agreement of two such networks says nothing.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from amctq.data.inputs import Inputs
from amctq.data.preprocess import IMAGENET_224
from amctq.data.samples import Batches, Split, split
from amctq.data.source import find_dataset
from amctq.inference.cell_session import CellSession

CLASSES = 1000
SEED = 1
MODEL_FILE = "net.py"
CHECKPOINT = "net.ckpt"
INT8_FILE = "create_quant.onnx"  # as amctq names it
CALIBRATION, EVALUATION = 32, 32
_BATCH = 32
_LARGEST_LOGIT = 10.0  # about; that of an image's own class


def images(data: Path, size: int) -> Split:
    """The images that ``amctq ptq --image-size`` uses, prepared in the same way."""
    dataset = find_dataset(str(data)).open(IMAGENET_224.changed(image_size=size))
    return split(dataset, calibration_images=CALIBRATION, evaluation_images=EVALUATION, seed=SEED)


def draw_constants(cell: Any) -> None:
    """Give every parameter that is one constant other values, of its own magnitude or what training makes of it."""
    import mindspore

    generator = np.random.default_rng(SEED)
    for parameter in cell.trainable_params():
        values = parameter.asnumpy()
        if values.size == 1 or np.ptp(values) != 0:
            continue
        constant = float(values.flat[0])
        if parameter.name.endswith("gamma") or constant:
            # 1 for a gamma that mindcv sets to zero; 0.1 for layer scales, which begin at 1e-6 and grow
            magnitude = max(abs(constant), 0.1) if constant else 1.0
            drawn = generator.uniform(0.5, 1.5, values.shape) * np.copysign(magnitude, constant)
        else:
            drawn = generator.normal(0, 0.05, values.shape)
        parameter.set_data(mindspore.Tensor(drawn.astype(values.dtype)))


def set_statistics(cell: Any, batch: Inputs) -> int:
    """Set each BatchNorm's mean and variance to those of what it reads, in one pass. Returns how many there are."""
    import mindspore

    def measure(norm: Any, inputs: Any) -> None:
        values = inputs[0].asnumpy().astype(np.float64)
        axes = tuple(axis for axis in range(values.ndim) if axis != 1)
        norm.moving_mean.set_data(mindspore.Tensor(values.mean(axes).astype(np.float32)))
        norm.moving_variance.set_data(mindspore.Tensor(values.var(axes).astype(np.float32)))

    norms = [each for _, each in cell.cells_and_names() if hasattr(each, "moving_variance")]
    handles = [norm.register_forward_pre_hook(measure) for norm in norms]
    CellSession(cell).run(batch)
    for handle in handles:
        handle.remove()
    return len(norms)


def recognise(cell: Any, batches: Batches) -> int:
    """Set the layers that yield a logit for each class so that they recognise these images. Returns how many there are.

    Where several heads are averaged each of them recognises the images; one that does not run keeps its weights.
    """
    import mindspore

    heads = {
        name: each
        for name, each in cell.cells_and_names()
        if getattr(getattr(each, "weight", None), "shape", (0,))[0] == CLASSES
    }
    read: dict[str, list[NDArray[np.float64]]] = {name: [] for name in heads}

    def keep(name: str) -> Any:
        def hook(head: Any, inputs: Any) -> None:
            values = np.moveaxis(inputs[0].asnumpy(), 1 if len(head.weight.shape) > 2 else -1, -1)
            read[name].append(values.reshape(len(values), -1, values.shape[-1]).mean(axis=1, dtype=np.float64))

        return hook

    handles = [head.register_forward_pre_hook(keep(name)) for name, head in heads.items()]
    labels = []
    for batch, of_batch in batches:
        CellSession(cell).run(batch)
        labels.append(of_batch)
    for handle in handles:
        handle.remove()
    found = {name: np.concatenate(values) for name, values in read.items() if values}
    for name, features in found.items():
        mean = features.mean(axis=0)
        rows = np.random.default_rng(SEED).standard_normal((CLASSES, len(mean)))
        rows[np.concatenate(labels)] = features - mean
        head = heads[name]
        has_bias = getattr(head, "bias", None) is not None
        if not has_bias:  # then nothing can take away what the mean image gives: the rows must not see it
            rows -= np.outer(rows @ mean, mean) / (mean @ mean)
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        rows *= _LARGEST_LOGIT / np.linalg.norm(features - mean, axis=1).mean()
        head.weight.set_data(mindspore.Tensor(rows.reshape(head.weight.shape).astype(np.float32)))
        if has_bias:
            head.bias.set_data(mindspore.Tensor(-(rows @ mean).astype(np.float32)))
    return len(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--size", type=int, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--folder", type=Path, required=True)
    options = parser.parse_args()
    os.environ.setdefault("GLOG_v", "4")
    import mindcv
    import mindspore

    mindspore.set_context(mode=mindspore.PYNATIVE_MODE)
    mindspore.set_seed(SEED)
    cell = mindcv.create_model(options.model, num_classes=CLASSES).set_train(False)
    chosen = images(options.data, options.size)
    assert chosen.evaluation is not None
    draw_constants(cell)
    norms = set_statistics(cell, Batches(samples=chosen.calibration, size=_BATCH).first())
    evaluation = Batches(samples=chosen.evaluation, size=_BATCH)
    heads = recognise(cell, evaluation)
    options.folder.mkdir(parents=True, exist_ok=True)
    mindspore.save_checkpoint(cell, str(options.folder / CHECKPOINT))
    (options.folder / MODEL_FILE).write_text(
        "import mindcv\n\n\n"
        "def create(num_classes):\n"
        f"    return mindcv.create_model({options.model!r}, num_classes=num_classes)\n"
    )
    batch, labels = next(iter(evaluation))
    logits = CellSession(cell).run(batch)[0]
    hits = int((logits.argmax(axis=1) == labels).sum())
    print(f"{options.model}: {norms} BatchNorms, {heads} heads; {hits} of {len(labels)} images recognised", flush=True)
    os._exit(0)  # MindSpore's cells complain when the interpreter takes them down


if __name__ == "__main__":
    main()
