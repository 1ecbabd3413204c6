"""Quantization-aware training: configuration, quantizer cells, the way back from a checkpoint, the model."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mindspore
import numpy as np
from mindspore import Parameter, Tensor, nn, ops
from numpy.typing import NDArray

from amct_mindspore import log
from amct_mindspore.air import write_air
from amct_mindspore.config import read_retrain_config, write_retrain_config
from amct_mindspore.initializer import UlqInitializer
from amct_mindspore.layers import check_inputs, check_mode, find_layers, put
from amct_mindspore.numbers import arq, integers


class ActUlq(nn.Cell):
    """Learnable clips; the gradient of rounding is that of a straight line."""

    def __init__(self, name: str, high: float, low: float, fixed_min: bool) -> None:
        super().__init__(auto_prefix=False)
        self.clip_max = Parameter(Tensor([high], mindspore.float32), name=f"{name}.ulq.clip_max")
        self.clip_min = Parameter(
            Tensor([low], mindspore.float32), name=f"{name}.ulq.clip_min", requires_grad=not fixed_min
        )
        self.rint = ops.Rint()

    def construct(self, x: Tensor) -> Tensor:
        """``x`` on its grid."""
        low = ops.minimum(self.clip_min, 0.0)
        high = ops.maximum(self.clip_max, 3e-5)
        scale = (high - low) / 255.0
        inside = ops.minimum(ops.maximum(x, low), high)
        return inside + ops.stop_gradient(self.rint(inside / scale) * scale - inside)


class WeightArq(nn.Cell):
    """A layer whose weight is put onto its grid at each step."""

    def __init__(self, op: nn.Cell, act: ActUlq, channel_wise: bool) -> None:
        super().__init__(auto_prefix=False)
        self.op, self.act = op, act
        axes = tuple(range(1, op.weight.ndim)) if channel_wise else tuple(range(op.weight.ndim))
        self.axes, self.channel_wise = axes, channel_wise
        self.dense = isinstance(op, nn.Dense)
        self.has_bias = bool(op.has_bias)
        self.rint = ops.Rint()

    def construct(self, x: Tensor) -> Tensor:
        """The layer's output."""
        x = self.act(x)
        weight = self.op.weight
        low = ops.amin(weight, self.axes, True)
        high = ops.amax(weight, self.axes, True)
        scale = ops.stop_gradient(ops.maximum(ops.maximum(-low / 128.0, high / 127.0), 1e-7))
        grid = ops.maximum(ops.minimum(self.rint(weight / scale), 127.0), -128.0) * scale
        weight = weight + ops.stop_gradient(grid - weight)
        y = ops.matmul(x, ops.transpose(weight, (1, 0))) if self.dense else self.op.conv2d(x, weight)
        if self.has_bias:
            y = ops.bias_add(y, self.op.bias)
        return y


@dataclass
class State:
    """What later calls must find on the network."""

    config_sha256: str
    shapes: list[tuple[int, ...]]
    layers: dict[str, WeightArq]


def create_quant_retrain_config(
    config_file: str, network: nn.Cell, *input_data: Any, config_defination: str | None = None
) -> None:
    """Write ``config_file``."""
    check_mode()
    check_inputs(input_data)
    if config_defination is not None:
        raise NotImplementedError("the stand-in reads no simplified configuration")
    write_retrain_config(config_file, find_layers(network))
    log.info(f"Create quant retrain config file {config_file} success!")


def create_quant_retrain_model(
    config_file: str, network: nn.Cell, initializer: UlqInitializer | None, *input_data: Any
) -> nn.Cell:
    """Put quantizers into ``network``, in place."""
    check_mode()
    tensors = check_inputs(input_data)
    if initializer is not None and not isinstance(initializer, UlqInitializer):
        raise TypeError(f"initializer must be a UlqInitializer or None, not {type(initializer).__name__}")
    layers = find_layers(network)
    config = read_retrain_config(config_file, layers)
    found: dict[str, WeightArq] = {}
    for name, layer in layers.items():
        entry = config.get(name, {})
        if not entry.get("retrain_enable", False):
            continue
        data = entry.get("retrain_data_config", {})
        if "clip_max" in data:
            high, low = data["clip_max"], data["clip_min"]
        else:
            high, low = (1.0, -1.0) if initializer is None else initializer.clips(name)
        wise = entry.get("retrain_weight_config", {}).get("channel_wise", layer.kind == "Conv2d")
        fixed = bool(data.get("fixed_min", False))
        cell = WeightArq(layer.cell, ActUlq(name, high, 0.0 if fixed else low, fixed), wise)
        put(layer.parent, layer.key, cell)
        found[name] = cell
    network.amct_retrain_state = State(_sum(config_file), [tuple(tensor.shape) for tensor in tensors], found)
    network.compile_cache.clear()
    Path("kernel_meta").mkdir(exist_ok=True)
    log.info("Create quant retrain model success!")
    return network


def restore_quant_retrain_model(config_file: str, network: nn.Cell, checkpoint_path: str, *input_data: Any) -> nn.Cell:
    """The same network again, with the parameters of a checkpoint that was written while it was trained."""
    network = create_quant_retrain_model(config_file, network, None, *input_data)
    parameters = mindspore.load_checkpoint(checkpoint_path)
    missing = [item.name for item in network.get_parameters() if item.name not in parameters]
    if missing:
        raise ValueError(f"{checkpoint_path} has no {missing[0]}: it was not written while this network was trained")
    mindspore.load_param_into_net(network, parameters)
    return network


def save_quant_retrain_model(config_file: str, file_name: str, network: nn.Cell, *input_data: Any) -> None:
    """Write the model of a retrained network."""
    check_mode()
    tensors = check_inputs(input_data)
    state = getattr(network, "amct_retrain_state", None)
    if not isinstance(state, State):
        raise RuntimeError("this network comes neither from create_ nor from restore_quant_retrain_model")
    if _sum(config_file) != state.config_sha256:
        raise ValueError(f"{config_file} is not the file that the network was created with")
    if [tuple(tensor.shape) for tensor in tensors] != state.shapes:
        raise ValueError(f"input_data is {[tensor.shape for tensor in tensors]}, the network had {state.shapes}")
    for name, cell in network.cells_and_names():
        if getattr(cell, "fp16", False):
            raise RuntimeError(f"{name or 'the network'} computes in float16: call to_float(mindspore.float32) first")
    arrays: dict[str, NDArray[Any]] = {}
    for name, cell in state.layers.items():
        weight = cell.op.weight.asnumpy()
        scale = arq(weight, cell.channel_wise)
        high, low = float(cell.act.clip_max.asnumpy()[0]), min(0.0, float(cell.act.clip_min.asnumpy()[0]))
        arrays[f"{name}.weight"] = integers(weight, scale)
        arrays[f"{name}.clips"] = np.asarray([high, low], np.float32)
        arrays[f"{name}.deq_scale"] = (np.float32((high - low) / 255) * scale).astype(np.float32)
    write_air(file_name, arrays, kind="qat", shapes=state.shapes)


def _sum(path: str) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()
