"""Quantize MindSpore networks to INT8, on an Ascend NPU or on any CPU.

The public calls are loaded on first use, so that ``import amctq`` stays free of MindSpore:

    import amctq
    result = amctq.ptq(amctq.PtqRequest(dataset="data", ckpt=Path("resnet20.ckpt"), model="resnet20"))
"""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any

from amctq.version import __version__ as __version__

if TYPE_CHECKING:  # "as" makes a name public for type checkers
    from amctq.services.analyze.analyze import AnalyzeResult as AnalyzeResult
    from amctq.services.analyze.analyze import analyze as analyze
    from amctq.services.analyze.request import AnalyzeRequest as AnalyzeRequest
    from amctq.services.convert_checkpoint import ConvertCheckpointResult as ConvertCheckpointResult
    from amctq.services.convert_checkpoint import convert_checkpoint as convert_checkpoint
    from amctq.services.convert_checkpoint_request import ConvertCheckpointRequest as ConvertCheckpointRequest
    from amctq.services.demo import DemoResult as DemoResult
    from amctq.services.demo import demo as demo
    from amctq.services.demo_request import DemoRequest as DemoRequest
    from amctq.services.doctor import DoctorReport as DoctorReport
    from amctq.services.doctor import doctor as doctor
    from amctq.services.doctor_request import DoctorRequest as DoctorRequest
    from amctq.services.evaluate import EvaluateResult as EvaluateResult
    from amctq.services.evaluate import evaluate as evaluate
    from amctq.services.evaluate_request import EvaluateRequest as EvaluateRequest
    from amctq.services.fetch_model import FetchModelResult as FetchModelResult
    from amctq.services.fetch_model import fetch_model as fetch_model
    from amctq.services.fetch_model_request import FetchModelRequest as FetchModelRequest
    from amctq.services.launch.launch import launch_distributed as launch_distributed
    from amctq.services.launch.launch import preview_launch as preview_launch
    from amctq.services.launch.request import LaunchRequest as LaunchRequest
    from amctq.services.launch.result import LaunchPreview as LaunchPreview
    from amctq.services.launch.result import LaunchResult as LaunchResult
    from amctq.services.prepare_cifar import PrepareCifarResult as PrepareCifarResult
    from amctq.services.prepare_cifar import prepare_cifar as prepare_cifar
    from amctq.services.prepare_cifar_request import PrepareCifarRequest as PrepareCifarRequest
    from amctq.services.ptq.preview import PtqPreview as PtqPreview
    from amctq.services.ptq.ptq import preview_ptq as preview_ptq
    from amctq.services.ptq.ptq import ptq as ptq
    from amctq.services.ptq.request import PtqRequest as PtqRequest
    from amctq.services.ptq.result import PtqResult as PtqResult
    from amctq.services.qat.preview import QatPreview as QatPreview
    from amctq.services.qat.qat import preview_qat as preview_qat
    from amctq.services.qat.qat import qat as qat
    from amctq.services.qat.request import QatRequest as QatRequest
    from amctq.services.qat.result import QatResult as QatResult
    from amctq.services.rank_table import RankTableResult as RankTableResult
    from amctq.services.rank_table import rank_table as rank_table
    from amctq.services.rank_table_request import RankTableRequest as RankTableRequest
    from amctq.services.report import ReportResult as ReportResult
    from amctq.services.report import report as report
    from amctq.services.report_request import ReportRequest as ReportRequest

# onnxruntime reports its use to its makers, and keeps files for that in the home folder, unless this is set before it
# is loaded: here, because this runs before every module of amctq, and before a user's own network file.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

# The same names for the interpreter, by module of ``amctq.services``.
_MODULES = {
    "analyze.analyze": "AnalyzeResult analyze",
    "analyze.request": "AnalyzeRequest",
    "convert_checkpoint": "ConvertCheckpointResult convert_checkpoint",
    "convert_checkpoint_request": "ConvertCheckpointRequest",
    "demo": "DemoResult demo",
    "demo_request": "DemoRequest",
    "doctor": "DoctorReport doctor",
    "doctor_request": "DoctorRequest",
    "evaluate": "EvaluateResult evaluate",
    "evaluate_request": "EvaluateRequest",
    "fetch_model": "FetchModelResult fetch_model",
    "fetch_model_request": "FetchModelRequest",
    "launch.launch": "launch_distributed preview_launch",
    "launch.request": "LaunchRequest",
    "launch.result": "LaunchPreview LaunchResult",
    "prepare_cifar": "PrepareCifarResult prepare_cifar",
    "prepare_cifar_request": "PrepareCifarRequest",
    "ptq.preview": "PtqPreview",
    "ptq.ptq": "preview_ptq ptq",
    "ptq.request": "PtqRequest",
    "ptq.result": "PtqResult",
    "qat.preview": "QatPreview",
    "qat.qat": "preview_qat qat",
    "qat.request": "QatRequest",
    "qat.result": "QatResult",
    "rank_table": "RankTableResult rank_table",
    "rank_table_request": "RankTableRequest",
    "report": "ReportResult report",
    "report_request": "ReportRequest",
}
_PUBLIC = {name: f"amctq.services.{module}" for module, names in _MODULES.items() for name in names.split()}

if not TYPE_CHECKING:  # type checkers read no computed list
    __all__ = ["__version__", *sorted(_PUBLIC)]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        message = f"module 'amctq' has no attribute {name!r}"
        raise AttributeError(message)
    return getattr(importlib.import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    return sorted(["__version__", *_PUBLIC])
