"""The values of options. This module imports nothing heavy, so that the command line starts fast."""

from __future__ import annotations

from enum import Enum
from typing import Literal


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
    MSLITE = "mslite"

    @property
    def suffix(self) -> str:
        """The end of a file name, after the stem."""
        endings = {"ascend": "_deploy.onnx", "fakequant": "_fakequant.onnx", "mslite": "_mslite.mindir"}
        return endings.get(self.value, f".{self.value}")


class ActAlgo(str, Enum):
    """Observers of activations."""

    IFMR = "ifmr"
    HFMG = "hfmg"
    MINMAX = "minmax"
    PERCENTILE = "percentile"
    MSE = "mse"
    ENTROPY = "entropy"


class IfmrVariant(str, Enum):
    """IFMR as in AMCT's PyTorch code, or as in the Ascend operator that AMCT's MindSpore front end calls."""

    EXACT = "exact"
    ASCEND = "ascend"


class HfmgVariant(str, Enum):
    """HFMG with exact zeros free of cost, or AMCT's own search, which charges them with an error."""

    FREE_ZEROS = "free-zeros"
    AMCT = "amct"


class ArqRule(str, Enum):
    """ARQ's scale of a channel whose |min| is slightly larger than its max.

    AMCT uses |min| / 128, and the largest weight saturates. The Ascend operator WtsARQ uses the larger of |min| / 128
    and max / 127. NARROW divides the largest by 127, so that no weight is -128, which ``--isa amx`` has no room for.
    PAIRS raises AMCT's until no two neighbours of one sign add up to more than 128: then the sums are exact without
    VNNI too, and ``--isa avx2`` stays with the fast int8 kernels.
    """

    AMCT = "amct"
    ASCEND = "ascend"
    NARROW = "narrow"
    PAIRS = "pairs"


class ActType(str, Enum):
    """Integer type of activations in ONNX. x86 has fast kernels only for uint8."""

    UINT8 = "uint8"
    INT8 = "int8"


class Placement(str, Enum):
    """Which activations of a quantized network are integers.

    ``ascend``: the inputs of Conv2d and Dense, as in AMCT. ``ort``: every tensor between integer layers, which makes
    onnxruntime fast.
    """

    ASCEND = "ascend"
    ORT = "ort"


WEIGHT_BITS = (8, 7, 6, 4, 3, 2)
# In place of a width: each layer gets one of its own, out of AUTO_WEIGHT_BITS.
AUTO: Literal["auto"] = "auto"
AUTO_WEIGHT_BITS = (2, 3, 4, 6, 8)
# Those that AMCT has names for; its record holds no others.
AMCT_WEIGHT_BITS = (8, 7, 6, 4)


class WeightAlgo(str, Enum):
    """How weights are rounded.

    ARQ takes the scale from the largest weight, MSE that of the least squared rounding error. GPTQ lets each weight
    make up for the errors of those before it, as far as the layer's inputs are correlated. GPTAQ does so layer after
    layer, for what each reads when those before it are rounded, and makes up for their errors too. SQuant needs no
    images: the errors in each kernel and channel cancel.
    """

    ARQ = "arq"
    MSE = "mse"
    GPTQ = "gptq"
    GPTAQ = "gptaq"
    SQUANT = "squant"

    @property
    def by_inputs(self) -> bool:
        """Whether weights are rounded by how the layer's inputs are correlated."""
        return self in {WeightAlgo.GPTQ, WeightAlgo.GPTAQ}


def usual_weight_algo(bits: int) -> WeightAlgo:
    """How weights are rounded where nobody says it: below 8 bits, rounding one by one loses accuracy."""
    return WeightAlgo.GPTQ if bits < 8 else WeightAlgo.ARQ


class WeightStorage(str, Enum):
    """How an ONNX file stores weights: one in a byte, or two of at most 4 bits in a byte."""

    INT8 = "int8"
    INT4 = "int4"


class TargetIsa(str, Enum):
    """The x86 instructions that a file is written for. Every CPU that has them computes the same result.

    VNNI adds products of uint8 and int8 exactly. AVX2, and AVX-512 without VNNI, add them in pairs, which saturate at
    16 bits. AMX is exact too; onnxruntime uses it for weights that have a zero point.
    """

    VNNI = "vnni"
    AVX2 = "avx2"
    AMX = "amx"


class WeightType(str, Enum):
    """Integer type of weights in ONNX; it follows from WeightStorage and TargetIsa."""

    INT8 = "int8"
    UINT8 = "uint8"
    INT4 = "int4"
    AMX = "int8, zero point -1"


class Runtime(str, Enum):
    """What runs ONNX files on a CPU."""

    ONNXRUNTIME = "onnxruntime"
    OPENVINO = "openvino"


class Target(str, Enum):
    """What a quantized network is written for."""

    ONNXRUNTIME = "onnxruntime"
    OPENVINO = "openvino"
    TENSORRT = "tensorrt"
    ASCEND = "ascend"
    MSLITE = "mslite"


class Requirement(str, Enum):
    """What ``doctor --require`` can check."""

    MINDSPORE = "mindspore"
    ASCEND = "ascend"
    AMCT = "amct"
    ATC = "atc"
    VNNI = "vnni"
    OPENVINO = "openvino"


class ModelData(str, Enum):
    """The dataset that a published checkpoint was trained on."""

    CIFAR10 = "cifar10"
    IMAGENET2012 = "imagenet2012"


class FetchWhat(str, Enum):
    """What ``fetch-model`` downloads."""

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
    """Defaults of training: those of AMCT's sample, or those for a short run that starts from trained weights."""

    AUTO = "auto"
    SAMPLE = "sample"
    FINETUNE = "finetune"


class SelectEpoch(str, Enum):
    """Which epoch of a training is exported: the last, or the one with the highest top-1 on the evaluation images."""

    LAST = "last"
    BEST = "best"


class Language(str, Enum):
    """The language of a page."""

    EN = "en"
    ZH = "zh"


class LiteDevice(str, Enum):
    """What MindSpore Lite runs a file on, by the name that converter_lite has for it."""

    CPU = "CPU"
    ASCEND = "ASCEND"
