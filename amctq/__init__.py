"""Quantize MindSpore networks to INT8, on an Ascend NPU or on any CPU.

The public calls are loaded on first use, so that ``import amctq`` stays free of MindSpore:

    import amctq
    result = amctq.ptq(amctq.PtqRequest(dataset="data", ckpt=Path("resnet20.ckpt"), model="resnet20"))
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from amctq.version import __version__

if TYPE_CHECKING:
    from amctq.services.demo import DemoResult, demo
    from amctq.services.demo_request import DemoRequest
    from amctq.services.doctor import DoctorReport, doctor
    from amctq.services.doctor_request import DoctorRequest
    from amctq.services.evaluate import EvaluateResult, evaluate
    from amctq.services.evaluate_request import EvaluateRequest
    from amctq.services.fetch_model import FetchModelResult, fetch_model
    from amctq.services.fetch_model_request import FetchModelRequest
    from amctq.services.launch.launch import launch_distributed, preview_launch
    from amctq.services.launch.request import LaunchRequest
    from amctq.services.launch.result import LaunchPreview, LaunchResult
    from amctq.services.prepare_cifar import PrepareCifarResult, prepare_cifar
    from amctq.services.prepare_cifar_request import PrepareCifarRequest
    from amctq.services.ptq.preview import PtqPreview
    from amctq.services.ptq.ptq import preview_ptq, ptq
    from amctq.services.ptq.request import PtqRequest
    from amctq.services.ptq.result import PtqResult
    from amctq.services.qat.preview import QatPreview
    from amctq.services.qat.qat import preview_qat, qat
    from amctq.services.qat.request import QatRequest
    from amctq.services.qat.result import QatResult
    from amctq.services.rank_table import RankTableResult, rank_table
    from amctq.services.rank_table_request import RankTableRequest

_PUBLIC = {
    "DemoRequest": "amctq.services.demo_request",
    "DemoResult": "amctq.services.demo",
    "DoctorReport": "amctq.services.doctor",
    "DoctorRequest": "amctq.services.doctor_request",
    "EvaluateRequest": "amctq.services.evaluate_request",
    "EvaluateResult": "amctq.services.evaluate",
    "FetchModelRequest": "amctq.services.fetch_model_request",
    "FetchModelResult": "amctq.services.fetch_model",
    "LaunchPreview": "amctq.services.launch.result",
    "LaunchRequest": "amctq.services.launch.request",
    "LaunchResult": "amctq.services.launch.result",
    "PrepareCifarRequest": "amctq.services.prepare_cifar_request",
    "PrepareCifarResult": "amctq.services.prepare_cifar",
    "PtqPreview": "amctq.services.ptq.preview",
    "PtqRequest": "amctq.services.ptq.request",
    "PtqResult": "amctq.services.ptq.result",
    "QatPreview": "amctq.services.qat.preview",
    "QatRequest": "amctq.services.qat.request",
    "QatResult": "amctq.services.qat.result",
    "RankTableRequest": "amctq.services.rank_table_request",
    "RankTableResult": "amctq.services.rank_table",
    "demo": "amctq.services.demo",
    "doctor": "amctq.services.doctor",
    "evaluate": "amctq.services.evaluate",
    "fetch_model": "amctq.services.fetch_model",
    "launch_distributed": "amctq.services.launch.launch",
    "prepare_cifar": "amctq.services.prepare_cifar",
    "preview_launch": "amctq.services.launch.launch",
    "preview_ptq": "amctq.services.ptq.ptq",
    "preview_qat": "amctq.services.qat.qat",
    "ptq": "amctq.services.ptq.ptq",
    "qat": "amctq.services.qat.qat",
    "rank_table": "amctq.services.rank_table",
}

__all__ = [
    "DemoRequest",
    "DemoResult",
    "DoctorReport",
    "DoctorRequest",
    "EvaluateRequest",
    "EvaluateResult",
    "FetchModelRequest",
    "FetchModelResult",
    "LaunchPreview",
    "LaunchRequest",
    "LaunchResult",
    "PrepareCifarRequest",
    "PrepareCifarResult",
    "PtqPreview",
    "PtqRequest",
    "PtqResult",
    "QatPreview",
    "QatRequest",
    "QatResult",
    "RankTableRequest",
    "RankTableResult",
    "__version__",
    "demo",
    "doctor",
    "evaluate",
    "fetch_model",
    "launch_distributed",
    "prepare_cifar",
    "preview_launch",
    "preview_ptq",
    "preview_qat",
    "ptq",
    "qat",
    "rank_table",
]


def __getattr__(name: str) -> Any:
    try:
        module = _PUBLIC[name]
    except KeyError:
        message = f"module 'amctq' has no attribute {name!r}"
        raise AttributeError(message) from None
    return getattr(importlib.import_module(module), name)


def __dir__() -> list[str]:
    return sorted(__all__)
