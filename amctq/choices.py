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
    ASCEND = "ascend"
    FAKEQUANT = "fakequant"
    MINDIR = "mindir"
    AIR = "air"

    @property
    def suffix(self) -> str:
        """What follows the stem in the name of such a file."""
        return {"ascend": "_deploy.onnx", "fakequant": "_fakequant.onnx"}.get(self.value, f".{self.value}")


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


class Placement(str, Enum):
    """Which activations of a quantized network are integers.

    ``ascend``: the inputs of Conv2d and Dense, as AMCT does it. ``ort``: every tensor between integer layers, which
    onnxruntime needs for speed.
    """

    ASCEND = "ascend"
    ORT = "ort"


WEIGHT_BITS = (8, 7, 6, 4)


class WeightAlgo(str, Enum):
    """What chooses the scales of weights: ARQ, by the largest weight, or the least squared rounding error."""

    ARQ = "arq"
    MSE = "mse"


class WeightStorage(str, Enum):
    """How an ONNX file stores weights: a byte each, or 4-bit weights two to a byte."""

    INT8 = "int8"
    INT4 = "int4"


class TargetIsa(str, Enum):
    """The x86 instructions that a file is written for; it computes the same on all others that have them or more.

    VNNI adds up products of uint8 and int8 exactly. AVX2, and AVX-512 without VNNI, saturate pairs of them at 16 bits.
    """

    VNNI = "vnni"
    AVX2 = "avx2"


class WeightType(str, Enum):
    """Integer type of weights in ONNX; what WeightStorage and TargetIsa come down to."""

    INT8 = "int8"
    UINT8 = "uint8"
    INT4 = "int4"


class Requirement(str, Enum):
    """What ``doctor`` can insist on."""

    MINDSPORE = "mindspore"
    ASCEND = "ascend"
    AMCT = "amct"
    ATC = "atc"
    VNNI = "vnni"


class ModelData(str, Enum):
    """What a published checkpoint was trained on."""

    CIFAR10 = "cifar10"
    IMAGENET2012 = "imagenet2012"


class FetchWhat(str, Enum):
    """What ``fetch-model`` gets."""

    CHECKPOINT = "checkpoint"
    DEFINITION = "definition"
    ALL = "all"


class LrDecay(str, Enum):
    """How the learning rate falls after the warm-up."""

    POLY = "poly"
    STEPS = "steps"
    COSINE = "cosine"
    LINEAR = "linear"


class RecipeName(str, Enum):
    """Which defaults of training: the sample's, or those for a short run that starts from trained weights."""

    AUTO = "auto"
    SAMPLE = "sample"
    FINETUNE = "finetune"


class SelectEpoch(str, Enum):
    """Which epoch of a training run is exported: the last, or the one of highest top-1 on the evaluation images."""

    LAST = "last"
    BEST = "best"
