"""The values that options take. Loads nothing, so that the command line can offer them at once."""

from __future__ import annotations

from enum import Enum


class Device(str, Enum):
    """Where MindSpore runs."""

    AUTO = "auto"
    CPU = "cpu"
    ASCEND = "ascend"


class BackendName(str, Enum):
    """Which engine quantizes."""

    AUTO = "auto"
    NATIVE = "native"
    AMCT = "amct"


class ExportFormat(str, Enum):
    """Formats of a quantized network."""

    ONNX = "onnx"
    AIR = "air"


class ActAlgo(str, Enum):
    """Observers of activations."""

    IFMR = "ifmr"
    HFMG = "hfmg"
    MINMAX = "minmax"
    PERCENTILE = "percentile"
    MSE = "mse"
    ENTROPY = "entropy"


class IfmrVariant(str, Enum):
    """IFMR as AMCT's PyTorch code has it, or as the Ascend operator that its MindSpore front end calls."""

    EXACT = "exact"
    ASCEND = "ascend"


class ArqRule(str, Enum):
    """ARQ's scale where a channel's lowest weight reaches just farther than its highest.

    AMCT takes |min| / 128 and lets the highest weight saturate; the Ascend operator WtsARQ takes the larger of
    |min| / 128 and max / 127.
    """

    AMCT = "amct"
    ASCEND = "ascend"


class ActType(str, Enum):
    """Integer type of activations in ONNX. x86 has fast kernels for uint8 alone."""

    UINT8 = "uint8"
    INT8 = "int8"


class Requirement(str, Enum):
    """What ``doctor`` can insist on."""

    MINDSPORE = "mindspore"
    ASCEND = "ascend"
    AMCT = "amct"
    ATC = "atc"
    VNNI = "vnni"
