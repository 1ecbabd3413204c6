"""resnet20 with one bad layer: a channel that it reads is 300 times as large as it was."""

from __future__ import annotations

from tests.command import Shared

BAD, BEFORE = "layer2.1.conv2", "layer2.1.conv1"
_CHANNEL, _FACTOR = 5, 300


def plant(shared: Shared, path: str) -> None:
    """Write a checkpoint in which the weights behind the channel are as much smaller: the network is the same."""
    import mindspore

    parameters = mindspore.load_checkpoint(str(shared.checkpoint("resnet20")))
    before, behind = "layer2.1.bn1", f"{BAD}.weight"
    for name in (f"{before}.gamma", f"{before}.beta"):
        values = parameters[name].asnumpy().copy()
        values[_CHANNEL] *= _FACTOR
        parameters[name].set_data(mindspore.Tensor(values))
    weight = parameters[behind].asnumpy().copy()
    weight[:, _CHANNEL] /= _FACTOR
    parameters[behind].set_data(mindspore.Tensor(weight))
    mindspore.save_checkpoint([{"name": name, "data": item} for name, item in parameters.items()], path)
