"""A network in the way of MindSpore 1.1's definition files: imports, operators and habits of the sample's resnet.py.

It is ours and small; only what newer releases might have changed under such a file is its model's.
"""

import mindspore.common.dtype as mstype
import mindspore.nn as nn
import numpy as np
from mindspore.common.tensor import Tensor
from mindspore.ops import functional as F
from mindspore.ops import operations as P
from scipy.stats import truncnorm


def _drawn(*shape):
    spread = truncnorm(-2, 2, loc=0, scale=0.1).rvs(int(np.prod(shape)))
    return Tensor(np.reshape(spread, shape), dtype=mstype.float32)


def _conv(cin, cout, size, stride=1):
    return nn.Conv2d(
        cin,
        cout,
        kernel_size=size,
        stride=stride,
        padding=0,
        pad_mode="same",
        weight_init=_drawn(cout, cin, size, size),
    )


def _norm(channels):
    return nn.BatchNorm2d(
        channels, eps=1e-4, momentum=0.9, gamma_init=1, beta_init=0, moving_mean_init=0, moving_var_init=1
    )


class Block(nn.Cell):
    def __init__(self, cin, cout, stride):
        super().__init__()
        self.conv1 = _conv(cin, cout, 3, stride)
        self.bn1 = _norm(cout)
        self.relu = nn.ReLU()
        self.down_sample = cin != cout
        self.down_sample_layer = None
        if self.down_sample:
            self.down_sample_layer = nn.SequentialCell([_conv(cin, cout, 1, stride), _norm(cout)])
        self.add = P.TensorAdd()

    def construct(self, x):
        identity = x
        out = self.bn1(self.conv1(x))
        if self.down_sample:
            identity = self.down_sample_layer(identity)
        out = self.add(out, identity)
        return self.relu(out)


class ResNet(nn.Cell):
    def __init__(self, num_classes):
        super().__init__()
        self.conv1 = _conv(3, 8, 7, 2)
        self.bn1 = _norm(8)
        self.relu = P.ReLU()
        self.maxpool = nn.MaxPool2d(kernel_size=3, stride=2, pad_mode="same")
        self.layer1 = nn.SequentialCell([Block(8, 16, 2), Block(16, 16, 1)])
        self.mean = P.ReduceMean(keep_dims=True)
        self.flatten = nn.Flatten()
        self.end_point = nn.Dense(16, num_classes, has_bias=True, weight_init=_drawn(num_classes, 16), bias_init=0)

    def construct(self, x):
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.layer1(self.maxpool(x))
        out = self.mean(x, (2, 3))
        out = F.reshape(out, F.shape(out))
        out = self.flatten(out)
        return self.end_point(out)


def resnet50(class_num=10):
    return ResNet(class_num)
