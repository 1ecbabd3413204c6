"""Small networks, as users bring them. Loaded by tests and by ``--model tests/backends/networks.py:…``."""

from __future__ import annotations

from typing import Any

import mindspore
from mindspore import Parameter, Tensor, nn, ops


class Small(nn.Cell):
    """Two convolutions, one with a bias under its BatchNorm, one without a BatchNorm, a residual addition, a Dense."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 3, 2, pad_mode="pad", padding=1, has_bias=True)
        self.bn1 = nn.BatchNorm2d(8, eps=1e-3)
        self.conv2 = nn.Conv2d(8, 8, 3, pad_mode="pad", padding=1, has_bias=True)
        self.depthwise = nn.Conv2d(8, 8, 3, pad_mode="pad", padding=1, group=8, has_bias=False)
        self.relu = nn.ReLU()
        self.flatten = nn.Flatten()
        self.end_point = nn.Dense(8 * 16 * 16, classes)

    def construct(self, x: Tensor) -> Tensor:
        x = self.relu(self.bn1(self.conv1(x)))
        x = ops.add(self.relu(self.conv2(x)), self.depthwise(x))
        return self.end_point(self.flatten(x))


class Grouped(Small):
    """With a grouped and a dilated convolution in front of the Dense."""

    def __init__(self, classes: int) -> None:
        super().__init__(classes)
        self.grouped = nn.Conv2d(8, 8, 3, pad_mode="pad", padding=1, group=2, has_bias=False)
        self.dilated = nn.Conv2d(8, 8, 3, pad_mode="pad", padding=2, dilation=2, has_bias=False)

    def construct(self, x: Tensor) -> Tensor:
        x = self.relu(self.bn1(self.conv1(x)))
        return self.end_point(self.flatten(self.dilated(self.grouped(x))))


class Reused(Small):
    """One convolution used twice."""

    def construct(self, x: Tensor) -> Tensor:
        x = self.relu(self.bn1(self.conv1(x)))
        return self.end_point(self.flatten(self.conv2(self.conv2(x))))


class Branching(Small):
    """Control flow that depends on the image."""

    def construct(self, x: Tensor) -> Tensor:
        x = self.relu(self.bn1(self.conv1(x)))
        if x.mean() > 0:
            x = self.conv2(x)
        return self.end_point(self.flatten(x))


class TwoHeads(Small):
    """Two outputs."""

    def construct(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = self.relu(self.bn1(self.conv1(x)))
        logits = self.end_point(self.flatten(x))
        return logits, logits


class OwnConv(nn.Cell):
    """A convolution that is no nn.Conv2d, with the same parameters, and no attribute with its operator."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = Parameter(ops.zeros((8, 3, 3, 3)), name="weight")
        self.bias = Parameter(ops.zeros(8), name="bias")

    def construct(self, x: Tensor) -> Tensor:
        return ops.conv2d(x, self.weight, self.bias, stride=2, pad_mode="pad", padding=1)


class OwnLayer(Small):
    """Whose first layer is of the user's own making."""

    def __init__(self, classes: int) -> None:
        super().__init__(classes)
        self.conv1 = OwnConv()


class Sequential(nn.Cell):
    """The same layers again, in sequential cells, one of them a subclass, a Dense with its activation inside."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.features = nn.SequentialCell(
            [Conv3x3(3, 8), nn.BatchNorm2d(8), nn.ReLU(), nn.SequentialCell([Conv3x3(8, 4), nn.BatchNorm2d(4)])]
        )
        self.flatten = nn.Flatten()
        self.hidden = nn.Dense(4 * 32 * 32, 12, activation="relu")
        self.end_point = nn.Dense(12, classes, has_bias=False)

    def construct(self, x: Tensor) -> Tensor:
        return self.end_point(self.hidden(self.flatten(self.features(x))))


class Conv3x3(nn.Conv2d):
    """Only another constructor."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__(channels_in, channels_out, 3, pad_mode="same")


def own_layer(num_classes: int) -> nn.Cell:
    return OwnLayer(num_classes)


def small(num_classes: int) -> nn.Cell:
    return Small(num_classes)


def sample_style(class_num: int = 10) -> nn.Cell:
    """The official resnet.py calls its argument so."""
    return Small(class_num)


def grouped(num_classes: int) -> nn.Cell:
    return Grouped(num_classes)


def reused(num_classes: int) -> nn.Cell:
    return Reused(num_classes)


def branching(num_classes: int) -> nn.Cell:
    return Branching(num_classes)


class AuxiliaryHead(Small):
    """A second head in training, as Inception has, whose kernel may be larger than small images are by then."""

    def __init__(self, classes: int, kernel: int) -> None:
        super().__init__(classes)
        self.kernel = ops.ones((classes, classes, kernel, kernel), mindspore.float32)

    def construct(self, x: Tensor) -> Any:
        logits = super().construct(x)
        if self.training:
            maps = logits.reshape(*logits.shape, 1, 1)
            return logits, ops.conv2d(maps, self.kernel).mean((2, 3))
        return logits


def auxiliary_head(num_classes: int) -> nn.Cell:
    return AuxiliaryHead(num_classes, 1)


def auxiliary_head_too_large(num_classes: int) -> nn.Cell:
    return AuxiliaryHead(num_classes, 5)


def two_heads(num_classes: int) -> nn.Cell:
    return TwoHeads(num_classes)


def raises(num_classes: int) -> nn.Cell:
    message = f"no weights for {num_classes} classes"
    raise RuntimeError(message)


def no_cell(num_classes: int) -> str:
    return f"resnet with {num_classes} classes"


not_a_function = 3


class Transformer(nn.Cell):
    """Patches, then Dense on rank 3 with an activation inside, nn.Linear, a product with a matrix ``x @ w``."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 12, 8, 8, pad_mode="valid", has_bias=True)
        self.norm = nn.LayerNorm((12,))
        self.hidden = nn.Dense(12, 20, activation="gelu")
        self.project = nn.Linear(20, 12, bias=False)
        self.mix = Matrix(12, 10)
        self.batch_norm = nn.BatchNorm1d(10)
        self.end_point = nn.Dense(10, classes)

    def construct(self, x: Tensor) -> Tensor:
        x = self.patches(x)
        x = x.reshape((x.shape[0], 12, -1)).transpose((0, 2, 1))
        x = x + self.project(self.hidden(self.norm(x)))
        return self.end_point(self.batch_norm(self.mix(x).mean(1)))


class Matrix(nn.Cell):
    """A layer of one's own: a matrix (C_in, C_out), the channels on the second axis."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.weight = Parameter(ops.zeros((channels_in, channels_out)), name="weight")
        self.matmul = ops.MatMul()

    def construct(self, x: Tensor) -> Tensor:
        rows = self.matmul(x.reshape((-1, x.shape[-1])), self.weight)
        return rows.reshape((-1, x.shape[1], rows.shape[-1]))


class PaddedConv2d(nn.Conv2d):
    """A subclass that pads unevenly, then computes as nn.Conv2d does."""

    def construct(self, x: Tensor) -> Tensor:
        return super().construct(ops.pad(x, (0, 1, 0, 1)))


class StandardizedConv2d(nn.Conv2d):
    """A subclass that computes its weight from the parameter."""

    def construct(self, x: Tensor) -> Tensor:
        weight = self.weight - self.weight.mean((1, 2, 3), keep_dims=True)
        return self.conv2d(x, weight)


class Convolutions(nn.Cell):
    """1-D, grouped, dilated and 3-D convolutions, and a subclass, three of them with a BatchNorm."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.padded = PaddedConv2d(3, 8, 3, 2, pad_mode="valid", has_bias=True)
        self.bn1 = nn.BatchNorm2d(8)
        self.grouped = nn.Conv2d(8, 8, 3, pad_mode="pad", padding=1, group=4)
        self.bn2 = nn.BatchNorm2d(8)
        self.dilated = nn.Conv2d(8, 8, 3, pad_mode="same", dilation=2, has_bias=True)
        self.volume = nn.Conv3d(8, 4, 3, (2, 2, 2), has_bias=True)
        self.line = nn.Conv1d(4, 6, 5, 4, pad_mode="pad", padding=2, has_bias=True)
        self.relu = nn.ReLU()
        self.end_point = nn.Dense(6, classes)

    def construct(self, x: Tensor) -> Tensor:
        x = self.relu(self.bn1(self.padded(x)))
        x = self.relu(self.dilated(self.bn2(self.grouped(x))))
        x = self.relu(self.volume(x.reshape((-1, 8, 4, 8, 8))))
        x = self.relu(self.line(x.reshape((x.shape[0], 4, -1))))
        return self.end_point(x.mean(2))


class Transposed(nn.Cell):
    """A transposed convolution with its BatchNorm, (N, 4, 8, 8) to (N, 4)."""

    def __init__(self, group: int) -> None:
        super().__init__()
        self.up = nn.Conv2dTranspose(4, 4, 4, 2, pad_mode="pad", padding=1, group=group, has_bias=True)
        self.norm = nn.BatchNorm2d(4)
        self.relu = nn.ReLU()

    def construct(self, x: Tensor) -> Tensor:
        return self.relu(self.norm(self.up(x))).mean((2, 3))


class Upsampling(nn.Cell):
    """Transposed convolutions in one, two and three dimensions."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, 4, has_bias=True)
        self.bn = nn.BatchNorm2d(4)
        self.line = nn.Conv1dTranspose(4, 4, 4, 2, pad_mode="pad", padding=1, has_bias=True)
        self.image = nn.Conv2dTranspose(4, 6, 3, 2, pad_mode="same", has_bias=True)
        self.volume = nn.Conv3dTranspose(6, 4, 3, (1, 2, 2), pad_mode="pad", padding=1, has_bias=True)
        self.relu = nn.ReLU()
        self.end_point = nn.Dense(4, classes)

    def construct(self, x: Tensor) -> Tensor:
        x = self.relu(self.bn(self.conv(x)))
        x = self.relu(self.line(x.reshape((-1, 4, 64))))
        x = self.relu(self.image(x.reshape((-1, 4, 8, 16))))
        x = self.relu(self.volume(x.reshape((-1, 6, 2, 16, 16))))
        return self.end_point(x.mean((2, 3, 4)))


class Sequence(nn.Cell):
    """Its dense layers read (positions, N, channels): the batch is the second axis."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 8, 8, pad_mode="valid")
        self.bn = nn.BatchNorm2d(8)
        self.hidden, self.relu = nn.Dense(8, 12), nn.ReLU()
        self.end_point = nn.Dense(12, classes)

    def construct(self, x: Tensor) -> Tensor:
        x = self.bn(self.conv(x)).flatten(start_dim=2).permute(2, 0, 1)
        return self.end_point(self.relu(self.hidden(x)))[-1]


class Standardized(Small):
    """The second convolution computes its weight."""

    def __init__(self, classes: int) -> None:
        super().__init__(classes)
        self.conv2 = StandardizedConv2d(8, 8, 3, pad_mode="pad", padding=1)


def transformer(num_classes: int) -> nn.Cell:
    return Transformer(num_classes)


def convolutions(num_classes: int) -> nn.Cell:
    return Convolutions(num_classes)


def standardized(num_classes: int) -> nn.Cell:
    return Standardized(num_classes)


class Wide(nn.Cell):
    """The Dense reads 16,384 values."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, pad_mode="pad", padding=1, has_bias=True)
        self.relu = nn.ReLU()
        self.flatten = nn.Flatten()
        self.end_point = nn.Dense(16 * 32 * 32, classes)

    def construct(self, x: Tensor) -> Tensor:
        return self.end_point(self.flatten(self.relu(self.conv1(x))))


def wide(num_classes: int) -> nn.Cell:
    return Wide(num_classes)
