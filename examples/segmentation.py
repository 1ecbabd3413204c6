"""Segmentation: a U-Net on generated shapes. The dataset, the loss and the network of docs/en/tasks.md."""

import mindspore
import numpy as np
from mindspore import nn, ops

SIZE, CLASSES = 48, 4


def samples(role, epoch=None):
    """Pairs of an image, float32 (1, 48, 48), and the class of every pixel, int32 (48, 48).

    ``epoch`` is None for calibration and evaluation. In training it is 0, 1, …: the noise then changes with it. The
    same epoch and index always give the same sample, so that a resumed training goes on with the same bytes.
    """
    first, count = {"train": (0, 256), "test": (100_000, 128)}[role]
    return [_sample(first + index, 0 if epoch is None else epoch + 1) for index in range(count)]


def _sample(number, draw):
    shape, noise = np.random.default_rng(number), np.random.default_rng([number, draw])
    rows, columns = np.mgrid[:SIZE, :SIZE]
    image, target = noise.normal(0, 0.15, (SIZE, SIZE)), np.zeros((SIZE, SIZE), np.int32)
    for kind in (1, 2, 3):
        down, right = np.abs(rows - shape.integers(8, 40)), np.abs(columns - shape.integers(8, 40))
        radius = shape.integers(5, 10)
        inside = {1: np.hypot(down, right), 2: np.maximum(down, right), 3: down + right}[kind] < radius
        image[inside], target[inside] = 0.6 * kind + noise.normal(0, 0.15, inside.sum()), kind
    return image[None].astype(np.float32), target


def loss(outputs, target):
    """Cross-entropy of every pixel: outputs float32 (N, 4, 48, 48), target int32 (N, 48, 48)."""
    return ops.cross_entropy(outputs, target)


class UNet(nn.Cell):
    """Two levels down and up."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.third = _block(1, 16), _block(16, 32), _block(32, 64)
        self.pool = nn.MaxPool2d(2, 2)
        self.up_second = nn.Conv2dTranspose(64, 32, 2, stride=2, has_bias=True)
        self.up_first = nn.Conv2dTranspose(32, 16, 2, stride=2, has_bias=True)
        self.joined_second, self.joined_first = _block(64, 32), _block(32, 16)
        self.head = nn.Conv2d(16, CLASSES, 1, has_bias=True)

    def construct(self, image):
        first = self.first(image)
        second = self.second(self.pool(first))
        third = self.third(self.pool(second))
        second = self.joined_second(ops.concat((self.up_second(third), second), 1))
        return self.head(self.joined_first(ops.concat((self.up_first(second), first), 1)))


def _block(inputs, outputs):
    return nn.SequentialCell(nn.Conv2d(inputs, outputs, 3), nn.BatchNorm2d(outputs), nn.ReLU())


def unet():
    """The network, for --model."""
    return UNet()


def train(path, epochs=8):
    """Train it, and save a checkpoint."""
    mindspore.set_seed(1)
    network = UNet()
    optimizer = nn.Adam(network.trainable_params(), 2e-3)
    images, targets = map(np.stack, zip(*samples("train"), strict=True))
    step = mindspore.value_and_grad(lambda x, y: loss(network(x), y), None, optimizer.parameters)
    network.set_train(True)
    for _ in range(epochs):
        for start in range(0, len(images), 32):
            _, gradients = step(*(mindspore.Tensor(part[start : start + 32]) for part in (images, targets)))
            optimizer(gradients)
    mindspore.save_checkpoint(network, str(path))


if __name__ == "__main__":
    train("unet.ckpt")
