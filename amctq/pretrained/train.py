"""Trains the network in the package on generated pictures: ``python -m amctq.pretrained.train``.

Every epoch draws its own images, so no image occurs twice and no augmentation is needed. The evaluation images of a
generated set have their own role (``data.synthetic``); none of them is used here.

The same CPU gives the same bytes each time. Another CPU rounds differently, and gives another network that is as good:
88.0 % on a CPU with AVX2 only, 87.9 % for the network in the package. It takes 20 minutes of CPU time.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from amctq.choices import Device
from amctq.data import synthetic
from amctq.data.cifar import CLASSES
from amctq.leftovers import temporary_folder
from amctq.networks.registry import find_model
from amctq.pretrained import CHECKPOINT, MODEL
from amctq.quant.numerics import Float32Array
from amctq.runtime import load_mindspore, resolve_device

SEED = 1
EPOCHS = 10
EPOCH_IMAGES = 20_000
BATCH = 100
PEAK_RATE = 0.1
MOMENTUM = 0.9
WEIGHT_DECAY = 1e-4
_WARM_UP = 0.05  # of all steps
_FIRST_ROLE = 100  # above the roles of all files of a generated set
_TEST_ROLE = 99
_TEST_IMAGES = 10_000


def rates(steps: int) -> list[float]:
    """Learning rate by step: a linear warm-up, then half a cosine down to 0 (Loshchilov and Hutter 2016, eq. 5)."""
    warm = max(1, round(_WARM_UP * steps))
    return [
        PEAK_RATE * min((step + 1) / warm, 0.5 * (1 + math.cos(math.pi * max(0, step - warm) / (steps - warm))))
        for step in range(steps)
    ]


def train(output: Path, *, epochs: int = EPOCHS, epoch_images: int = EPOCH_IMAGES) -> float:
    """Train from random weights, write the checkpoint, and return top-1 in percent on other images."""
    with temporary_folder() as scratch:
        mindspore = load_mindspore(resolve_device(Device.CPU, None), scratch)
        from mindspore import nn

        mindspore.set_context(mode=mindspore.GRAPH_MODE)
        mindspore.set_seed(SEED)
        network = find_model(MODEL).build(CLASSES)
        schedule = rates(epochs * (epoch_images // BATCH))
        optimizer = nn.Momentum(_groups(network), learning_rate=schedule, momentum=MOMENTUM)
        loss = nn.WithLossCell(network, nn.CrossEntropyLoss())
        step = nn.TrainOneStepCell(loss, optimizer)
        start = time.perf_counter()
        for epoch in range(epochs):
            step.set_train(True)
            losses = [
                float(step(mindspore.Tensor(images), mindspore.Tensor(labels)).asnumpy())
                for images, labels in _batches(epoch_images, _FIRST_ROLE + epoch)
            ]
            _say(f"epoch {epoch + 1}/{epochs}: loss {np.mean(losses):.3f}, {time.perf_counter() - start:.0f} s")
        network.set_train(False)
        mindspore.save_checkpoint(network, str(output))
        top1 = _top1(network, mindspore)
        _say(f"top-1 {top1:.2f} % of {_TEST_IMAGES:,} images; {output}")
        return top1


def _groups(network: Any) -> list[dict[str, Any]]:
    """Weight decay on kernels, none on biases and BatchNorm."""
    kernels = [parameter for parameter in network.trainable_params() if parameter.name.endswith("weight")]
    others = [parameter for parameter in network.trainable_params() if not parameter.name.endswith("weight")]
    return [{"params": kernels, "weight_decay": WEIGHT_DECAY}, {"params": others, "weight_decay": 0.0}]


def _batches(images: int, role: int) -> Iterator[tuple[Float32Array, NDArray[np.int32]]]:
    prepare = find_model(MODEL).preprocessing(CLASSES)
    for block in synthetic.records(images, seed=SEED, role=role):
        for start in range(0, len(block), BATCH):
            chosen = block[start : start + BATCH]
            yield prepare(chosen[:, 1:].reshape(-1, 3, 32, 32)), chosen[:, 0].astype(np.int32)


def _top1(network: Any, mindspore: Any) -> float:
    right = 0
    for images, labels in _batches(_TEST_IMAGES, _TEST_ROLE):
        right += int((network(mindspore.Tensor(images)).asnumpy().argmax(1) == labels).sum())
    return 100 * right / _TEST_IMAGES


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=CHECKPOINT)
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--epoch-images", type=int, default=EPOCH_IMAGES)
    given = parser.parse_args()
    train(given.output, epochs=given.epochs, epoch_images=given.epoch_images)
