"""Networks that NumPy follows step by step. In a file of their own: MindSpore compiles what it can read."""

from __future__ import annotations

from mindspore import Tensor, nn


class Linear(nn.Cell):
    """(N, 2, 1, 1) to (N, classes)."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.flatten = nn.Flatten()
        self.dense = nn.Dense(2, classes)

    def construct(self, x: Tensor) -> Tensor:
        return self.dense(self.flatten(x))


class Normed(nn.Cell):
    """With a BatchNorm in front."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(2)
        self.flatten = nn.Flatten()
        self.dense = nn.Dense(2, classes)

    def construct(self, x: Tensor) -> Tensor:
        return self.dense(self.flatten(self.norm(x)))


class Halved(nn.Cell):
    """The mean over two devices of which one has nothing but zeros."""

    def construct(self, arrays: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        halved: tuple[Tensor, ...] = ()
        for array in arrays:
            halved = (*halved, array * 0.5)
        return halved
