"""Networks that read a layer's weight once more. Loaded by tests and by ``--model …/shared_weights.py:…``."""

from __future__ import annotations

from mindspore import Tensor, nn, ops


class Features(nn.Cell):
    """What is in front of the heads: (N, 3, 32, 32) to (N, 12)."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 12, 8, 8, pad_mode="valid", has_bias=True)
        self.bn1 = nn.BatchNorm2d(12)
        self.relu = nn.ReLU()
        self.end_point = nn.Dense(12, classes, has_bias=False)

    def features(self, x: Tensor) -> Tensor:
        return self.relu(self.bn1(self.conv1(x))).mean((2, 3))


class CosineHead(Features):
    """The head divides by the norms of its weight's rows."""

    def construct(self, x: Tensor) -> Tensor:
        return self.end_point(self.features(x)) / ops.norm(self.end_point.weight, 2, 1)


class SharedGamma(Features):
    """The gamma of a folded BatchNorm, and the weight of the convolution in front, scale what comes behind."""

    def construct(self, x: Tensor) -> Tensor:
        gain = ops.abs(self.bn1.gamma) + ops.abs(self.conv1.weight).sum((1, 2, 3))
        return self.end_point(self.features(x) * gain)


class SharedCells(Features):
    """Two layers have one weight, and a bias each."""

    def __init__(self, classes: int) -> None:
        super().__init__(classes)
        self.one, self.two = nn.Dense(12, 12), nn.Dense(12, 12)
        self.two.weight = self.one.weight

    def construct(self, x: Tensor) -> Tensor:
        return self.end_point(self.two(ops.tanh(self.one(self.features(x)))))


class TiedDecoder(Features):
    """An auto-encoder: the decoder is a function that multiplies by the encoder's weight."""

    def __init__(self, classes: int) -> None:
        super().__init__(classes)
        self.encoder = nn.Dense(12, 6)

    def construct(self, x: Tensor) -> Tensor:
        hidden = ops.tanh(self.encoder(self.features(x)))
        return self.end_point(ops.matmul(hidden, self.encoder.weight))


class EqualProducts(SharedCells):
    """Two layers with one weight read the same tensor, so that MindSpore's graph has one product for both."""

    def construct(self, x: Tensor) -> Tensor:
        x = self.features(x)
        x = self.one(x) * ops.sigmoid(self.two(x))
        return self.end_point(ops.matmul(x, self.one.weight))


class FloatOnly(nn.Dense):
    """A layer of the user's own that refuses weights which are not float32."""

    def construct(self, x: Tensor) -> Tensor:
        if "Float32" not in str(self.weight.dtype):
            message = f"this layer needs float32 weights, not {self.weight.dtype}"
            raise TypeError(message)
        return super().construct(x)


class Strict(Features):
    """With such a layer."""

    def __init__(self, classes: int) -> None:
        super().__init__(classes)
        self.end_point = FloatOnly(12, classes)

    def construct(self, x: Tensor) -> Tensor:
        return self.end_point(self.features(x))


def cosine_head(num_classes: int) -> nn.Cell:
    return CosineHead(num_classes)


def tied_decoder(num_classes: int) -> nn.Cell:
    return TiedDecoder(num_classes)


def strict(num_classes: int) -> nn.Cell:
    return Strict(num_classes)
