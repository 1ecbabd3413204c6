"""Post-training quantization: configuration, calibration cells, the model."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mindspore
import numpy as np
from mindspore import Parameter, Tensor, nn, ops
from numpy.typing import NDArray

from amct_mindspore import log
from amct_mindspore.air import write_air
from amct_mindspore.config import read_config, write_config
from amct_mindspore.layers import Layer, check_inputs, check_mode, find_layers, put
from amct_mindspore.numbers import arq, ifmr, integers
from amct_mindspore.record import write_record


class Calibrated(nn.Cell):
    """A layer with fake-quantized weights that keeps the one batch that it sees."""

    def __init__(self, name: str, op: nn.Cell, shape: tuple[int, ...], bias: NDArray[Any] | None) -> None:
        super().__init__(auto_prefix=False)
        self.op = op
        self.batch = Parameter(Tensor(np.zeros(shape, np.float32)), name=f"{name}.batch", requires_grad=False)
        self.seen = Parameter(Tensor(0, mindspore.int32), name=f"{name}.seen", requires_grad=False)
        self.added = bias is not None
        added = np.zeros(1, np.float32) if bias is None else bias.reshape(1, -1, 1, 1)
        self.fused_bias = Parameter(Tensor(added), name=f"{name}.fused_bias", requires_grad=False)

    def construct(self, x: Tensor) -> Tensor:
        """The layer's output."""
        x = ops.depend(x, ops.assign(self.batch, x))
        x = ops.depend(x, ops.assign_add(self.seen, 1))
        y = self.op(x)
        if self.added:
            y = y + self.fused_bias
        return y


@dataclass
class State:
    """What ``save_model`` must find on the network."""

    shapes: list[tuple[int, ...]]
    layers: dict[str, tuple[Calibrated, dict[str, Any], NDArray[Any]]]


def create_quant_config(
    config_file: str,
    network: nn.Cell,
    *input_data: Any,
    skip_layers: list[str] | None = None,
    activation_offset: bool = True,
    config_defination: str | None = None,
) -> None:
    """Write ``config_file``."""
    check_mode()
    check_inputs(input_data)
    layers = find_layers(network)
    if config_defination is not None:
        raise NotImplementedError("the stand-in reads no simplified configuration")
    if not isinstance(activation_offset, bool):
        raise TypeError("activation_offset must be a bool")
    for name in skip_layers or []:
        if name not in layers:
            raise ValueError(f"skip_layers: {name} is no layer that can be quantized")
    write_config(config_file, layers, skip=set(skip_layers or []), activation_offset=activation_offset)
    log.info(f"Create quant config file {config_file} success!")


def quantize_model(config_file: str, network: nn.Cell, *input_data: Any) -> nn.Cell:
    """Put calibration cells into ``network``, in place."""
    check_mode()
    tensors = check_inputs(input_data)
    layers = find_layers(network)
    config = read_config(config_file, layers)
    enabled = {name: layer for name, layer in layers.items() if config.get(name, {}).get("quant_enable", False)}
    shapes = _input_shapes(network, enabled, tensors)
    found: dict[str, tuple[Calibrated, dict[str, Any], NDArray[Any]]] = {}
    for name, layer in enabled.items():
        entry = config[name]
        keeps_norm = not config.get("do_fusion", True) or name in config.get("skip_fusion_layers", [])
        added = None if layer.norm is None or keeps_norm else _fold(layer)
        weight = layer.cell.weight.asnumpy()
        scale = arq(weight, entry.get("weight_quant_params", {}).get("channel_wise", layer.kind == "Conv2d"))
        wide = scale.reshape(-1, *[1] * (weight.ndim - 1))
        layer.cell.weight.set_data(Tensor((integers(weight, scale) * wide).astype(np.float32)))
        cell = Calibrated(name, layer.cell, shapes[name], added)
        cell.set_train(False)
        put(layer.parent, layer.key, cell)
        params = dict(entry.get("activation_quant_params", {}))
        params.setdefault("asymmetric", config.get("activation_offset", True))
        found[name] = cell, params, scale
    network.amct_state = State([tuple(tensor.shape) for tensor in tensors], found)
    network.compile_cache.clear()
    Path("kernel_meta").mkdir(exist_ok=True)
    log.info("Quantize model success!")
    return network


def save_model(file_name: str, network: nn.Cell, *input_data: Any) -> None:
    """Write the model of a calibrated network, and the record where the environment asks for it."""
    check_mode()
    tensors = check_inputs(input_data)
    state = getattr(network, "amct_state", None)
    if not isinstance(state, State):
        raise RuntimeError("this network does not come from quantize_model")
    if [tuple(tensor.shape) for tensor in tensors] != state.shapes:
        raise ValueError(f"input_data is {[tensor.shape for tensor in tensors]}, quantize_model had {state.shapes}")
    arrays: dict[str, NDArray[Any]] = {}
    record = {}
    for name, (cell, params, scale_w) in state.layers.items():
        seen = int(cell.seen.asnumpy())
        if seen != 1:
            raise RuntimeError(f"run exactly one batch between quantize_model and save_model: {name} has seen {seen}")
        scale_d, offset_d = ifmr(cell.batch.asnumpy(), params, params["asymmetric"])
        arrays[f"{name}.weight"] = integers(cell.op.weight.asnumpy(), scale_w)
        arrays[f"{name}.deq_scale"] = (np.float32(scale_d) * scale_w).astype(np.float32)
        arrays[f"{name}.quant"] = np.asarray([1 / scale_d, offset_d], np.float32)
        record[name] = scale_d, offset_d, scale_w
    if os.environ.get("DUMP_AMCT_RECORD", "0") == "1":
        write_record(Path("amct_dump") / "calibration_record.txt", record)
    write_air(file_name, arrays, kind="ptq", shapes=state.shapes)


def _input_shapes(network: nn.Cell, layers: dict[str, Layer], tensors: list[Tensor]) -> dict[str, tuple[int, ...]]:
    """What each layer sees, from one run outside the graph mode, where hooks work."""
    seen: dict[str, tuple[int, ...]] = {}
    handles = []
    for name, layer in layers.items():

        def keep(_: nn.Cell, inputs: tuple[Tensor, ...], name: str = name) -> None:
            if name in seen:
                raise ValueError(f"{name} is used twice")
            seen[name] = tuple(inputs[0].shape)

        handles.append(layer.cell.register_forward_pre_hook(keep))
    mindspore.set_context(mode=mindspore.PYNATIVE_MODE)
    try:
        network(*tensors)
    finally:
        mindspore.set_context(mode=mindspore.GRAPH_MODE)
        for handle in handles:
            handle.remove()
    return seen


def _fold(layer: Layer) -> NDArray[Any] | None:
    """Take the BatchNorm into the convolution; gives the bias that comes behind it, where it has none of its own."""
    assert layer.norm is not None
    key, norm = layer.norm
    gamma, beta, mean, variance = (
        value.asnumpy().astype(np.float64) for value in (norm.gamma, norm.beta, norm.moving_mean, norm.moving_variance)
    )
    factor = gamma / np.sqrt(variance + norm.eps)
    conv = layer.cell
    conv.weight.set_data(Tensor((conv.weight.asnumpy() * factor.reshape(-1, 1, 1, 1)).astype(np.float32)))
    before = conv.bias.asnumpy() if conv.has_bias else 0.0
    bias = ((before - mean) * factor + beta).astype(np.float32)
    put(layer.parent, key, nn.Identity())
    if not conv.has_bias:
        return bias
    conv.bias.set_data(Tensor(bias))
    return None
