"""How a network is quantized after training: what every engine gets."""

from __future__ import annotations

from dataclasses import dataclass, replace

from amctq.choices import ActType, ArqRule, HfmgVariant, IfmrVariant, Placement, WeightType
from amctq.export.isa import EXACT_BITS
from amctq.graph.qdq_rules import ONNXRUNTIME, QdqRules
from amctq.quant.config import QuantConfig, WeightConfig
from amctq.quant.layers import QuantizableLayer
from amctq.quant.numerics import EPSILON, SMALLEST, Float32Array


@dataclass(frozen=True, kw_only=True)
class PtqConfig:
    """How a network is quantized after training.

    Attributes:
        quant: how each layer is quantized.
        placement: which activations are quantized.
        act_type: integer type of activations in ONNX.
        ifmr_variant: which of AMCT's two versions of IFMR.
        arq_rule: the rule for weight scales.
        weight_type: integer type of weights in ONNX.
        hfmg_variant: HFMG with exact zeros free of cost, or AMCT's own search.
        bias_correction: the mean error that rounding a weight makes is taken from its layer's bias.
        attention: products of two activations are quantized too, with placement ``ort``.
        rules: of the runtime that the file is for.
        equalize: channels between two layers get factors that cancel, where that lowers the error.
        others: the same layers with other weights, such as narrower ones, to be rounded from the same calibration.
    """

    quant: QuantConfig
    placement: Placement
    act_type: ActType
    ifmr_variant: IfmrVariant
    arq_rule: ArqRule
    weight_type: WeightType = WeightType.INT8
    hfmg_variant: HfmgVariant = HfmgVariant.FREE_ZEROS
    bias_correction: bool = False
    attention: bool = False
    equalize: bool = False
    rules: QdqRules = ONNXRUNTIME
    others: tuple[QuantConfig, ...] = ()

    def weight_scale(self, layer: QuantizableLayer, how: WeightConfig, weight: Float32Array) -> Float32Array:
        """The scales of a layer's weight, float32 of shape (C_out,) or (1,)."""
        rule = self.arq_rule
        if rule is ArqRule.PAIRS and layer.depthwise:  # its kernels add in 32 bits
            rule = ArqRule.AMCT
        elif rule is ArqRule.PAIRS and layer.channel_axis is None:  # any two weights may be neighbours
            how = replace(how, bits=min(how.bits, EXACT_BITS))
        return how.scale(weight, rule, smallest=self.smallest_scale)

    @property
    def smallest_scale(self) -> float:
        """A smaller scale becomes 1: by AMCT's rule where AMCT places activations, else only for a range of zeros."""
        return SMALLEST if self.placement is Placement.ORT else EPSILON
