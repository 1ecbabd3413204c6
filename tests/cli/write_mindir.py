"""Writes networks as MindIR files into a folder, as MindSpore exports them."""

# mypy: disable-error-code="no-untyped-def,no-untyped-call"

import sys
from pathlib import Path

import mindspore
from mindspore import Parameter, Tensor, nn, ops

folder = Path(sys.argv[1])
float32 = mindspore.float32


class Network(nn.Cell):
    def __init__(self):
        super().__init__()
        self.convolution, self.relu = nn.Conv2d(3, 8, 3, 2, has_bias=True), nn.ReLU()
        self.pool = nn.MaxPool2d(3, 2, pad_mode="same")
        self.classes, self.boxes = nn.Dense(8, 5), nn.Dense(8, 4)
        self.numbers, self.scale = nn.Dense(4, 8), Parameter(ops.ones((16, 16), float32))

    def features(self, picture):
        return self.pool(self.relu(self.convolution(picture)))


class Two(Network):
    def construct(self, picture):
        mean = ops.mean(self.features(picture), (2, 3))
        return self.classes(mean), self.boxes(mean)


class Nested(Network):
    def construct(self, picture):
        found = self.features(picture)
        mean = ops.mean(found, (2, 3))
        return self.classes(mean), ((self.boxes(mean), 3), found)


class Inputs(Network):
    def construct(self, picture, numbers):
        return self.classes(ops.mean(self.features(picture), (2, 3)) + self.numbers(numbers))


class Open(Network):
    def construct(self, picture):
        return self.classes(ops.mean(self.features(picture), (2, 3)))


class OneSize(Network):
    def construct(self, picture):
        return self.classes(ops.mean(self.features(picture * self.scale), (2, 3)))


TWO = Two()
PICTURE, NUMBERS, ANY = (3, 16, 16), (4,), (3, None, None)
for name, network, batch, *shapes in (
    ("two", TWO, 1, PICTURE),
    ("any", TWO, None, PICTURE),
    ("nested", Nested(), 2, PICTURE),
    ("inputs", Inputs(), 1, PICTURE, NUMBERS),
    ("open", Open(), None, ANY),
    ("open_one", Nested(), 1, ANY),
    ("one_size", OneSize(), None, ANY),
):
    network.set_train(False)
    sizes = [(batch, *shape) for shape in shapes]
    examples = [Tensor(shape=size, dtype=float32) if None in size else ops.zeros(size, float32) for size in sizes]
    mindspore.export(network, *examples, file_name=str(folder / name), file_format="MINDIR")
