"""Detection: coloured shapes and their boxes. The dataset, the loss and the network of docs/en/detection.md."""

import mindspore
import numpy as np
from mindspore import nn, ops

SIZE, STRIDE, CLASSES, MOST_BOXES = 64, 4, 3, 4
CELLS = SIZE // STRIDE


def samples(role, epoch=None):
    """Pairs of an image, float32 (3, 64, 64), and its boxes, float32 (4, 5): left, top, right, bottom, class.

    An image has one to four shapes. Training makes one array of a batch, so all images have four rows: those of class
    -1 are no boxes. In training ``epoch`` is 0, 1, …, and half of the images are mirrored anew in each.
    """
    first, count = {"train": (0, 1024), "test": (100_000, 128)}[role]
    return [_sample(first + index, epoch) for index in range(count)]


def _sample(number, epoch):
    draw = np.random.default_rng(number)
    rows, columns = np.mgrid[:SIZE, :SIZE]
    image, boxes = draw.normal(0, 0.15, (3, SIZE, SIZE)), np.full((MOST_BOXES, 5), -1.0)
    for box, quarter in zip(boxes, draw.permutation(4)[: draw.integers(1, MOST_BOXES + 1)], strict=False):
        down = np.abs(rows - quarter // 2 * 32 - draw.integers(10, 22))
        right = np.abs(columns - quarter % 2 * 32 - draw.integers(10, 22))
        kind, radius = draw.integers(CLASSES), draw.integers(5, 10)
        square, cross = np.maximum(down, right) <= radius, np.minimum(down, right) <= 2
        inside = (square, square & cross, down + right <= radius)[kind]
        image[:, inside] += draw.choice((-1, 1), 3)[:, None] * draw.uniform(0.5, 0.9, (3, 1))
        box[:] = columns[inside].min(), rows[inside].min(), columns[inside].max() + 1, rows[inside].max() + 1, kind
    if epoch is not None and np.random.default_rng([number, epoch]).random() < 0.5:
        image, found = image[:, :, ::-1], boxes[:, 4] >= 0
        boxes[found, 0], boxes[found, 2] = SIZE - boxes[found, 2], SIZE - boxes[found, 0]
    return np.ascontiguousarray(image, np.float32), boxes.astype(np.float32)


def loss(outputs, target):
    """Focal loss of the classes of all cells, and the error of the sides in the cells where a box has its centre."""
    maps = outputs[1].reshape(-1, CLASSES + 4, CELLS**2)
    logits, log_sides = maps[:, :CLASSES], maps[:, CLASSES:]
    left_top, right_bottom = target[:, :, :2], target[:, :, 2:4]
    cells = ops.floor((left_top + right_bottom) / 2 / STRIDE)
    here = _one_hot(cells[:, :, 1] * CELLS + cells[:, :, 0], CELLS**2)  # nowhere for rows that are no boxes
    count = here.sum() + 1
    wanted = ops.bmm(_one_hot(target[:, :, 4], CLASSES).swapaxes(1, 2), here)
    right = (2 * wanted - 1) * logits  # the logits of what is true
    focal = (ops.sigmoid(-right) ** 2 * ops.softplus(-right)).sum() / count
    centres = (cells + 0.5) * STRIDE
    sides = ops.concat((centres - left_top, right_bottom - centres), 2).clip(1.0, None)
    error = ops.abs(ops.bmm(here, log_sides.swapaxes(1, 2)) - ops.log(sides / STRIDE))
    return focal + (error * here.sum(2, keepdims=True)).sum() / count


def _one_hot(numbers, depth):
    return ops.cast(ops.expand_dims(numbers, 2) == mindspore.Tensor(np.arange(depth, dtype=np.float32)), numbers.dtype)


class Detector(nn.Cell):
    """Each of 16 x 16 cells says which shape has its centre there, and how far its four sides are away."""

    def __init__(self):
        super().__init__()
        self.features = nn.SequentialCell(
            _block(3, 16, 2), _block(16, 32, 2), _block(32, 48, 1), _block(48, 48, 1), _block(48, 64, 1)
        )
        self.head = nn.Conv2d(64, CLASSES + 4, 1, has_bias=True, bias_init=-2.0)
        self.pool = nn.MaxPool2d(3, 1, "same")
        places = (np.arange(CELLS, dtype=np.float32) + 0.5) * STRIDE
        self.centres = mindspore.Tensor(np.stack(np.meshgrid(places, places))[None])

    def construct(self, image):
        maps = self.head(self.features(image))
        heat, sides = ops.sigmoid(maps[:, :CLASSES]), ops.exp(maps[:, CLASSES:]) * STRIDE
        peaks = heat * ops.cast(self.pool(heat) == heat, heat.dtype)  # of neighbours only the best
        score, kind = ops.max(peaks, 1, keepdims=True)
        box = (self.centres - sides[:, :2], self.centres + sides[:, 2:], score, ops.cast(kind, heat.dtype))
        return ops.concat(box, 1).reshape(-1, 6, CELLS**2).swapaxes(1, 2), maps


def _block(inputs, outputs, stride):
    return nn.SequentialCell(nn.Conv2d(inputs, outputs, 3, stride), nn.BatchNorm2d(outputs), nn.ReLU())


def detector():
    """The network, for --model."""
    return Detector()


def train(path, epochs=12):
    """Train it, and save a checkpoint."""
    mindspore.set_seed(1)
    network = Detector()
    optimizer = nn.Adam(network.trainable_params(), nn.cosine_decay_lr(1e-4, 4e-3, epochs * 64, 64, epochs))

    def wrong(images, target):
        return loss(network(images), target)

    gradient = mindspore.value_and_grad(wrong, None, optimizer.parameters)

    @mindspore.jit
    def step(images, target):
        _, gradients = gradient(images, target)
        optimizer(gradients)

    network.set_train(True)
    for epoch in range(epochs):
        images, targets = map(np.stack, zip(*samples("train", epoch), strict=True))
        for start in range(0, len(images), 16):
            step(*(mindspore.Tensor(part[start : start + 16]) for part in (images, targets)))
    mindspore.save_checkpoint(network, str(path))


if __name__ == "__main__":
    train("detector.ckpt")
