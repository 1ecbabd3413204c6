"""Make the files beside this script with PyTorch, which the tests do not need: python make_torch_files.py

They hold a small network, in every form in which such files come.
"""

from __future__ import annotations

import argparse
import collections
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

HERE = Path(__file__).parent


class Net(nn.Module):
    """As ``Twin`` of ``tests.networks.test_torch_file`` has it in MindSpore."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, bias=False)
        self.bn = nn.BatchNorm2d(4)
        self.fc = nn.Linear(4, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(torch.relu(self.bn(self.conv(x))).mean((2, 3)))


def trained() -> tuple[Net, Any]:
    torch.manual_seed(17)
    network = Net()
    optimizer = torch.optim.Adam(network.parameters())
    for _ in range(2):
        network(torch.randn(8, 3, 6, 6)).square().mean().backward()
        optimizer.step()
    return network, optimizer


def save(value: Any, name: str, **more: Any) -> None:
    torch.save(value, HERE / name, **more)


def malicious(call: Any) -> type:
    return type("Hostile", (), {"__reduce__": lambda self: call})


def main() -> None:
    network, optimizer = trained()
    state = network.state_dict()
    np.savez(HERE / "values.npz", **{name: value.numpy() for name, value in state.items()})
    save(state, "state.pth")
    save(state, "legacy.pth", _use_new_zipfile_serialization=False)
    save(state, "protocol4.pth", pickle_protocol=4)
    averaged = {name: value * 3 if value.is_floating_point() else value for name, value in state.items()}
    run = {
        "epoch": 3,
        "args": argparse.Namespace(lr=0.1, path=Path("somewhere"), modes={"a", "b"}),
        "best": np.float64(0.5),
        "history": collections.defaultdict(list, loss=[1.0, 2.0]),
        "state_dict": {f"module.{name}": value for name, value in state.items()},
        "state_dict_ema": averaged,
        "optimizer": optimizer.state_dict(),
        "rng_state": torch.get_rng_state()[:8].clone(),
    }
    save(run, "run.pth")
    save({"model": state, "ema": averaged, "epoch": 1}, "ema.pth", _use_new_zipfile_serialization=False)
    save({"student": state, "teacher": averaged}, "two.pth")
    save(
        {name: nn.Parameter(value) if value.is_floating_point() else value for name, value in state.items()},
        "parameters.pth",
    )
    for kind in ("bfloat16", "float16", "float64"):
        dtype = getattr(torch, kind)
        save({n: v.to(dtype) if v.is_floating_point() else v for n, v in state.items()}, f"{kind}.pth")
    # One storage for all, weights transposed and with gaps between their elements.
    flat = torch.zeros(1000)
    views: dict[str, torch.Tensor] = {}
    begin = 3
    for name, value in state.items():
        if not value.is_floating_point():
            continue
        shape = tuple(reversed(value.shape))
        view = flat.as_strided(shape, _strides(shape), begin)
        view.copy_(value.permute(*range(value.dim() - 1, -1, -1)))
        views[name] = view.permute(*range(value.dim() - 1, -1, -1))
        begin += 2 * value.numel()
    save(views, "views.pth")
    save(views, "views_legacy.pth", _use_new_zipfile_serialization=False)
    # What is refused.
    save(network, "module.pth")
    save({"model": network, "epoch": 1}, "module_in_run.pth")
    save(network, "module_legacy.pth", _use_new_zipfile_serialization=False)
    torch.jit.save(torch.jit.script(nn.Linear(2, 2)), HERE / "script.pt")
    save({**state, "fc.weight": state["fc.weight"].to_sparse()}, "sparse.pth")
    save(state["fc.weight"], "tensor.pth")
    save({"epoch": 1}, "no_tensor.pth")
    save({**state, "x": malicious((os.system, ("touch owned",)))()}, "malicious.pth")
    save(
        {**state, "x": malicious((eval, ("open('owned', 'w')",)))()},
        "malicious_legacy.pth",
        _use_new_zipfile_serialization=False,
    )
    save({**state, "x": malicious((print, ("owned",)))()}, "calls.pth")
    (HERE / "plain.pkl").write_bytes(pickle.dumps({name: value.numpy() for name, value in state.items()}))


def _strides(shape: tuple[int, ...]) -> tuple[int, ...]:
    strides, step = [], 2
    for size in reversed(shape):
        strides.append(step)
        step *= size
    return tuple(reversed(strides))


if __name__ == "__main__":
    main()
