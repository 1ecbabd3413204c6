"""The official MindSpore ResNets, with the parameter names, padding and BatchNorm settings of their checkpoints.

He et al., Deep Residual Learning for Image Recognition (2015). ResNet-50 and deeper are the variant v1.5, with the
stride in the 3x3 convolution. ResNet-18 and 34 pad symmetrically, as PyTorch does. ResNet-50, 101 and 152 pad "same",
so that a 7x7 convolution of stride 2 gets two rows before and three after.
"""

from __future__ import annotations

from mindspore import Tensor, nn, ops

_BASIC = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3)}
_BOTTLENECK = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}


class BasicBlock(nn.Cell):
    """Two 3x3 convolutions and a shortcut; (N, C, H, W) to (N, channels_out, H / stride, W / stride)."""

    def __init__(self, channels_in: int, channels_out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = _padded(channels_in, channels_out, 3, stride)
        self.bn1d = _norm(channels_out)
        self.conv2 = _padded(channels_out, channels_out, 3, 1)
        self.bn2d = _norm(channels_out)
        self.relu = nn.ReLU()
        self.down_sample = stride != 1 or channels_in != channels_out
        if self.down_sample:
            self.down_sample_layer = nn.SequentialCell(
                [_padded(channels_in, channels_out, 1, stride), _stem_norm(channels_out)]
            )

    def construct(self, x: Tensor) -> Tensor:
        """One block."""
        y = self.relu(self.bn1d(self.conv1(x)))
        y = self.bn2d(self.conv2(y))
        if self.down_sample:
            x = self.down_sample_layer(x)
        return self.relu(ops.add(y, x))


class Bottleneck(nn.Cell):
    """1x1, 3x3, 1x1 and a shortcut; (N, C, H, W) to (N, channels_out, H / stride, W / stride)."""

    def __init__(self, channels_in: int, channels_out: int, stride: int) -> None:
        super().__init__()
        channels = channels_out // 4
        self.conv1 = _same(channels_in, channels, 1, 1)
        self.bn1 = _norm(channels)
        self.conv2 = _same(channels, channels, 3, stride)
        self.bn2 = _norm(channels)
        self.conv3 = _same(channels, channels_out, 1, 1)
        self.bn3 = _norm(channels_out)
        self.relu = nn.ReLU()
        self.down_sample = stride != 1 or channels_in != channels_out
        if self.down_sample:
            self.down_sample_layer = nn.SequentialCell(
                [_same(channels_in, channels_out, 1, stride), _norm(channels_out)]
            )

    def construct(self, x: Tensor) -> Tensor:
        """One block."""
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        if self.down_sample:
            x = self.down_sample_layer(x)
        return self.relu(ops.add(y, x))


class ResNet(nn.Cell):
    """The network with ``depth`` 18, 34, 50, 101 or 152; images (N, 3, H, W) to logits (N, num_classes)."""

    def __init__(self, *, depth: int, num_classes: int) -> None:
        super().__init__()
        basic = depth in _BASIC
        blocks = _BASIC[depth] if basic else _BOTTLENECK[depth]
        width = 64 if basic else 256
        self.conv1 = _padded(3, 64, 7, 2) if basic else _same(3, 64, 7, 2)
        self.bn1 = _stem_norm(64) if basic else _norm(64)
        self.relu = nn.ReLU()
        self.pads = basic
        self.pad = nn.Pad(((0, 0), (0, 0), (1, 1), (1, 1)))
        self.maxpool = nn.MaxPool2d(3, 2, pad_mode="valid" if basic else "same")
        block = BasicBlock if basic else Bottleneck
        self.layer1 = _stage(block, blocks[0], 64, width, 1)
        self.layer2 = _stage(block, blocks[1], width, 2 * width, 2)
        self.layer3 = _stage(block, blocks[2], 2 * width, 4 * width, 2)
        self.layer4 = _stage(block, blocks[3], 4 * width, 8 * width, 2)
        self.flatten = nn.Flatten()
        self.end_point = nn.Dense(8 * width, num_classes)

    def construct(self, x: Tensor) -> Tensor:
        """The whole network."""
        x = self.relu(self.bn1(self.conv1(x)))
        if self.pads:
            x = self.pad(x)
        x = self.maxpool(x)
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        x = ops.mean(x, (2, 3), True)
        return self.end_point(self.flatten(x))


def _stage(block: type[nn.Cell], blocks: int, channels_in: int, channels_out: int, stride: int) -> nn.SequentialCell:
    first = block(channels_in, channels_out, stride)
    return nn.SequentialCell([first, *(block(channels_out, channels_out, 1) for _ in range(blocks - 1))])


def _same(channels_in: int, channels_out: int, kernel: int, stride: int) -> nn.Conv2d:
    return nn.Conv2d(channels_in, channels_out, kernel, stride, pad_mode="same")


def _padded(channels_in: int, channels_out: int, kernel: int, stride: int) -> nn.Conv2d:
    return nn.Conv2d(channels_in, channels_out, kernel, stride, pad_mode="pad", padding=kernel // 2)


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-4, momentum=0.9)


def _stem_norm(channels: int) -> nn.BatchNorm2d:
    """The BatchNorm of the stem and the shortcuts of ResNet-18 and 34."""
    return nn.BatchNorm2d(channels, eps=1e-5, momentum=0.1)
