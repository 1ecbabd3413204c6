"""``./amct_log/amct_mindspore.log``, begun anew by each process in its current directory."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

_LEVELS = ("debug", "info", "warning", "error")
_logger = logging.getLogger("amct_mindspore")


def set_logging_level(print_level: str = "info", save_level: str = "info") -> None:
    """What is shown, and what is kept in the log file."""
    for name, level in (("print_level", print_level), ("save_level", save_level)):
        if not isinstance(level, str) or level.lower() not in _LEVELS:
            raise ValueError(f"{name} must be one of {_LEVELS}, not {level!r}")
    while _logger.handlers:
        handler = _logger.handlers[0]
        handler.close()
        _logger.removeHandler(handler)
    folder = Path("amct_log")
    folder.mkdir(exist_ok=True)
    screen = logging.StreamHandler(sys.stdout)  # the real one talks on stdout
    file = logging.FileHandler(folder / "amct_mindspore.log", mode="w", encoding="utf-8")
    for handler, level in ((screen, print_level), (file, save_level)):
        handler.setLevel(level.upper())
        handler.setFormatter(logging.Formatter("%(levelname)s - [AMCT]:[QuantizeTool]: %(message)s"))
        _logger.addHandler(handler)
    _logger.setLevel("DEBUG")
    _logger.propagate = False


def info(message: str) -> None:
    """One line."""
    if not _logger.handlers:
        set_logging_level()
    _logger.info(message)
