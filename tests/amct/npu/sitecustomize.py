"""A machine with an NPU, for commands that tests start with this folder on PYTHONPATH: Python imports it by itself.

amctq asks ``runtime`` what the machine has, and has ``runtime`` load MindSpore; here both answer for an NPU that is
not there, and MindSpore runs on the CPU. Nothing that a real NPU would do is tested so.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from amctq import runtime
from amctq.choices import Device

_load = runtime.load_mindspore


def _load_on_cpu(device: runtime.ResolvedDevice, scratch: Path) -> Any:
    return _load(replace(device, kind=Device.CPU, onednn_isa="AVX2"), scratch)


runtime.npu_nodes = lambda: (Path("/dev/davinci0"),)
runtime.cann_home = lambda: Path("/usr/local/Ascend")
runtime.load_mindspore = _load_on_cpu
