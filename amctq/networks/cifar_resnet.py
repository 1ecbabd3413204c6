"""ResNets for CIFAR-10: He et al., Deep Residual Learning for Image Recognition (2015), section 4.2.

They have 6n + 2 layers: a 3x3 stem, three stages of n basic blocks with 16, 32 and 64 channels, global average pooling,
and a Dense. Shortcuts have no parameters (option A of the paper): where the shape changes, they take every second row
and column, and add channels of zeros on both sides.
"""

from __future__ import annotations

from mindspore import Tensor, nn, ops


class BasicBlock(nn.Cell):
    """relu(bn(conv(relu(bn(conv(x))))) + shortcut(x)) on (N, C, H, W)."""

    def __init__(self, channels_in: int, channels_out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = _conv3x3(channels_in, channels_out, stride)
        self.bn1 = nn.BatchNorm2d(channels_out)
        self.conv2 = _conv3x3(channels_out, channels_out, 1)
        self.bn2 = nn.BatchNorm2d(channels_out)
        self.relu = nn.ReLU()
        self.changes_shape = stride != 1
        added = (channels_out - channels_in) // 2
        self.pad = nn.Pad(((0, 0), (added, added), (0, 0), (0, 0)))

    def construct(self, x: Tensor) -> Tensor:
        """One block."""
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        if self.changes_shape:
            x = self.pad(x[:, :, ::2, ::2])
        return self.relu(ops.add(y, x))


class CifarResNet(nn.Cell):
    """The network with ``depth`` = 6n + 2 layers; images (N, 3, 32, 32) to logits (N, num_classes)."""

    def __init__(self, *, depth: int, num_classes: int) -> None:
        super().__init__()
        blocks = (depth - 2) // 6
        self.conv1 = _conv3x3(3, 16, 1)
        self.bn1 = nn.BatchNorm2d(16)
        self.relu = nn.ReLU()
        self.layer1 = _stage(blocks, 16, 16, 1)
        self.layer2 = _stage(blocks, 16, 32, 2)
        self.layer3 = _stage(blocks, 32, 64, 2)
        self.flatten = nn.Flatten()
        self.end_point = nn.Dense(64, num_classes)

    def construct(self, x: Tensor) -> Tensor:
        """The whole network."""
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        x = ops.mean(x, (2, 3), True)
        return self.end_point(self.flatten(x))


def _conv3x3(channels_in: int, channels_out: int, stride: int) -> nn.Conv2d:
    return nn.Conv2d(channels_in, channels_out, 3, stride, pad_mode="pad", padding=1, has_bias=False)


def _stage(blocks: int, channels_in: int, channels_out: int, stride: int) -> nn.SequentialCell:
    first = BasicBlock(channels_in, channels_out, stride)
    return nn.SequentialCell([first, *(BasicBlock(channels_out, channels_out, 1) for _ in range(blocks - 1))])
