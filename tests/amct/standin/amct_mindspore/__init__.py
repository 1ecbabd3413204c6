"""A stand-in for Huawei's amct_mindspore, after its manual: the same functions, arguments, files and refusals.

It computes on any device that MindSpore has, where the real one needs an Ascend 910, and what it writes into an
``.air`` file is an archive of arrays that tests can read, where the real one writes a graph for ATC. It is stricter
than the manual where the real one goes wrong silently: a missing calibration batch is an error. It knows nothing of
amctq, and shares no formula with it.
"""

from __future__ import annotations

from amct_mindspore.log import set_logging_level
from amct_mindspore.quantize_tool import create_quant_config, quantize_model, save_model
from amct_mindspore.retrain_tool import (
    create_quant_retrain_config,
    create_quant_retrain_model,
    restore_quant_retrain_model,
    save_quant_retrain_model,
)

__all__ = [
    "create_quant_config",
    "create_quant_retrain_config",
    "create_quant_retrain_model",
    "quantize_model",
    "restore_quant_retrain_model",
    "save_model",
    "save_quant_retrain_model",
    "set_logging_level",
]
__version__ = "0.0.standin"

set_logging_level()
