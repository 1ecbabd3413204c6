"""Small networks, as users bring them. Loaded by tests and by ``--model tests/backends/networks.py:…``."""

from __future__ import annotations

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


class Inplace(Small):
    """``x += y``, which MindSpore does not export."""

    def construct(self, x: Tensor) -> Tensor:
        x = self.relu(self.bn1(self.conv1(x)))
        x += self.conv2(x)
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


def inplace(num_classes: int) -> nn.Cell:
    return Inplace(num_classes)


def two_heads(num_classes: int) -> nn.Cell:
    return TwoHeads(num_classes)


def raises(num_classes: int) -> nn.Cell:
    message = f"no weights for {num_classes} classes"
    raise RuntimeError(message)


def no_cell(num_classes: int) -> str:
    return f"resnet with {num_classes} classes"


not_a_function = 3
