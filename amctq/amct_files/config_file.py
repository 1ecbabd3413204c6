"""What ``--config`` names: AMCT's JSON, or its simplified ``.cfg``; which of the two shows in the file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from amctq.amct_files import config_cfg, config_json, retrain_cfg, retrain_json
from amctq.amct_files.cfg_text import is_cfg, read_cfg
from amctq.amct_files.json_reader import batch_num, read_object
from amctq.quant.config import QuantConfig
from amctq.quant.layers import Topology
from amctq.quant.retrain_config import RetrainConfig

Warn = Callable[[str], None]


def read_config(path: Path, topology: Topology, warn: Warn) -> QuantConfig:
    """A configuration of post-training quantization.

    Args:
        path: the file.
        topology: of the network.
        warn: is told of what is corrected.

    Raises:
        InputError: the file is not what it must be; the message names the key, or line and field.
    """
    if is_cfg(path):
        return config_cfg.load_cfg(path, topology, warn)
    return config_json.load_config(path, topology)


def read_retrain_config(path: Path, topology: Topology, warn: Warn) -> RetrainConfig:
    """The same of retraining."""
    if is_cfg(path):
        return retrain_cfg.load_retrain_cfg(path, topology, warn)
    return retrain_json.load_retrain_config(path, topology)


def read_batch_num(path: Path, *, retrain: bool = False) -> int | None:
    """How many batches calibrate, where the file says so; read before there is a network to check the rest against.

    Raises:
        InputError: it is neither of the two, or batch_num is no number from 1 up.
    """
    if is_cfg(path):
        return batch_num(read_cfg(path, (retrain_cfg if retrain else config_cfg).SCHEMA))
    return batch_num(read_object(path, expected=(retrain_json if retrain else config_json).EXPECTED))
