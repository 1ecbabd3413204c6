"""Networks and data of several tasks, with random weights, for tests of the command."""

# mypy: disable-error-code="no-untyped-def,no-untyped-call"

import mindspore
import numpy as np
from mindspore import nn, ops

SAMPLES = 48
_DRAW = np.random.default_rng(0)
PICTURES = _DRAW.normal(size=(SAMPLES, 3, 16, 16)).astype(np.float32)
NUMBERS = _DRAW.normal(size=(SAMPLES, 4)).astype(np.float32)
IDS = _DRAW.integers(1, 50, (SAMPLES, 12)).astype(np.int32)


class TwoInputs(nn.Cell):
    def __init__(self):
        super().__init__()
        self.convolution, self.dense = nn.Conv2d(3, 16, 3, has_bias=True), nn.Dense(4, 8)
        self.relu, self.end_point = nn.ReLU(), nn.Dense(24, 10)

    def construct(self, picture, numbers):
        seen = ops.mean(self.relu(self.convolution(picture)), (2, 3))
        return self.end_point(ops.concat((seen, self.relu(self.dense(numbers))), 1))


class TwoOutputs(nn.Cell):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 16, 3, has_bias=True), nn.Conv2d(16, 16, 3, has_bias=True)
        self.relu, self.boxes, self.classes = nn.ReLU(), nn.Conv2d(16, 5, 1, has_bias=True), nn.Dense(16, 7)

    def construct(self, picture):
        features = self.relu(self.second(self.relu(self.first(picture))))
        return self.boxes(features), self.classes(ops.mean(features, (2, 3)))


class Autoencoder(nn.Cell):
    def __init__(self):
        super().__init__()
        self.down, self.relu = nn.Conv2d(3, 16, 3, stride=2, has_bias=True), nn.ReLU()
        self.up = nn.Conv2dTranspose(16, 3, 4, stride=2, has_bias=True)

    def construct(self, picture):
        return self.up(self.relu(self.down(picture)))


class Sentences(nn.Cell):
    def __init__(self):
        super().__init__()
        self.embedding, self.dense, self.end_point = nn.Embedding(50, 32), nn.Dense(32, 32), nn.Dense(32, 3)
        self.relu = nn.ReLU()

    def construct(self, ids, mask):
        weight = ops.cast(mask, mindspore.float32).expand_dims(-1)
        words = self.relu(self.dense(self.embedding(ids))) * weight
        return self.end_point(words.sum(1) / weight.sum(1))


def two_inputs():
    return TwoInputs()


def two_outputs():
    return TwoOutputs()


def autoencoder():
    return Autoencoder()


def sentences():
    return Sentences()


def tuples():
    return [((PICTURES[i], NUMBERS[i]), i % 10) for i in range(SAMPLES)]


def dictionaries():
    return [({"numbers": NUMBERS[i], "picture": PICTURES[i]}, i % 10) for i in range(SAMPLES)]


def one_key_missing():
    return [({"picture": PICTURES[i]}, i % 10) for i in range(SAMPLES)]


def key_misspelt():
    return [({"numbers": NUMBERS[i], "pictures": PICTURES[i]}, i % 10) for i in range(SAMPLES)]


def other_dtype():
    return [((PICTURES[i], NUMBERS[i].astype(np.float64 if i == 40 else np.float32)), i % 10) for i in range(SAMPLES)]


def other_shape():
    return [((PICTURES[i], NUMBERS[i][: 3 if i == 40 else 4]), i % 10) for i in range(SAMPLES)]


def unlabelled():
    return [(PICTURES[i], None) for i in range(SAMPLES)]


def of_several_shapes():
    return [(PICTURES[i], np.zeros((16, 16 - i % 2), np.int32)) for i in range(SAMPLES)]


def untargeted(role):
    return [(PICTURES[i], None) for i in range(SAMPLES)]


def not_counted():
    return [(PICTURES[i], np.full((16, 16), 255)) for i in range(SAMPLES)]


def itself(role, epoch=None):
    if role == "test":
        return [(PICTURES[i], PICTURES[i]) for i in range(32, SAMPLES)]
    noise = np.random.default_rng(epoch or 0).normal(0, 0.0 if epoch is None else 0.1, (32, 3, 16, 16))
    return [((PICTURES[i] + noise[i]).astype(np.float32), PICTURES[i]) for i in range(32)]


def words():
    return [({"ids": IDS[i], "mask": np.arange(12) < 5 + i % 7}, i % 3) for i in range(SAMPLES)]


def squared(outputs, targets):
    return ops.mse_loss(outputs, targets)


def not_a_scalar(outputs, targets):
    return (outputs - targets) ** 2


def not_a_number(outputs, targets):
    return ops.mse_loss(outputs, targets) * float("nan")


def constant(outputs, targets):
    return mindspore.Tensor(1.0)


def whole_number(outputs, targets):
    return ops.cast(ops.mse_loss(outputs, targets) * 1000, mindspore.int32)


def through_numpy(outputs, targets):
    return mindspore.Tensor(((outputs.asnumpy() - targets.asnumpy()) ** 2).mean())


def half_precision(outputs, targets):
    return ops.cast(ops.mse_loss(outputs, targets), mindspore.float16)


def raises(outputs, targets):
    return outputs @ targets


def tiny(outputs, targets):
    return -1e-9 * float(((outputs - targets) ** 2).mean())


def brightness(outputs, targets):
    return -float(np.abs(outputs.mean() - targets.mean()))
