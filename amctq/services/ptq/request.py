"""The request of ``amctq ptq``, and the checks that its options do not contradict each other."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

from amctq.choices import (
    AUTO,
    ActAlgo,
    ActType,
    ArqRule,
    ExportFormat,
    HfmgVariant,
    IfmrVariant,
    Placement,
    TargetIsa,
    WeightAlgo,
    WeightStorage,
    usual_weight_algo,
)
from amctq.errors import UsageError
from amctq.services import request as shared
from amctq.services.analyze.options import ANALYZE, TUNING_WITH_ANALYZE, refuse_idle_analysis
from amctq.services.fallback import options as fallback_options
from amctq.services.option import QUANTIZATION, RUN, Option
from amctq.services.ptq import options, width_options
from amctq.services.quantization_request import QuantizationRequest


@dataclass(frozen=True, kw_only=True)
class PtqRequest(QuantizationRequest):
    """The request of ``amctq ptq``. Each field is the option of the same name; the option's help explains it.

    Attributes:
        ckpt: None for a network that is a file with its weights.
        placement: None selects it by target, record and formats.
        act_type: None means that of the target, else uint8.
        isa: None means the instructions of this CPU.

    Raises:
        UsageError: a value is out of its range, or two options contradict each other.
    """

    dataset: Annotated[str | Path, shared.DATASET]
    ckpt: Annotated[Path | None, shared.CKPT] = None
    model: Annotated[str, options.MODEL] = "resnet50"
    inputs: Annotated[
        tuple[tuple[str, tuple[int, ...]], ...],
        options.INPUT_SHAPE,
    ] = ()
    calib_images: Annotated[int | None, shared.CALIB_IMAGES] = None
    config: Annotated[
        Path | None, Option(QUANTIZATION, "AMCT's config.json, or its simplified .cfg.", metavar="FILE")
    ] = None
    record: Annotated[
        Path | None,
        Option(
            QUANTIZATION,
            "AMCT's calibration_record.txt, used instead of a calibration; --config may give the same run's.",
            metavar="FILE",
        ),
    ] = None
    act_algo: Annotated[
        ActAlgo | None,
        Option(
            QUANTIZATION,
            "Observer for activations.  [default: ifmr; mse behind operators in float; minmax with --target mslite]",
        ),
    ] = None
    ifmr_variant: Annotated[
        IfmrVariant, Option(QUANTIZATION, "IFMR as in AMCT's open code, or as in the operator of Ascend NPUs.")
    ] = IfmrVariant.EXACT
    hfmg_variant: Annotated[
        HfmgVariant, Option(QUANTIZATION, "HFMG with exact zeros free of cost, or as in AMCT's open code.")
    ] = HfmgVariant.FREE_ZEROS
    act_symmetric: Annotated[bool, Option(QUANTIZATION, "Quantize activations with zero point 0.")] = False
    per_tensor: Annotated[bool, Option(QUANTIZATION, "One weight scale per layer instead of one per channel.")] = False
    weight_bits: Annotated[int | Literal["auto"] | None, width_options.WEIGHT_WIDTH] = None
    max_size: Annotated[float | None, width_options.MAX_SIZE] = None
    layer_bits: Annotated[tuple[tuple[str, int], ...], options.LAYER_BITS] = ()
    weight_algo: Annotated[
        WeightAlgo | None,
        Option(
            QUANTIZATION,
            "How weights are rounded: scale from the largest weight (arq) or of the least squared error (mse); so that "
            "weights make up for each other's errors (gptq), also for those of the layers before (gptaq), or without "
            "images (squant).  "
            "[default: arq; gptq below 8 bits]",
        ),
    ] = None
    bias_correction: Annotated[
        bool | None,
        Option(
            QUANTIZATION,
            "Take the mean error that rounding the weights makes from the biases.  "
            "[default: on; off with --record or --backend amct]",
        ),
    ] = None
    equalize: Annotated[
        bool,
        Option(
            QUANTIZATION,
            "Give the channels between two layers factors that cancel, where that lowers the error: for depthwise "
            "networks. Writes no record.",
        ),
    ] = False
    arq_rule: Annotated[ArqRule | None, options.ARQ_RULE] = None
    skip_layers: Annotated[tuple[str, ...], shared.SKIP_LAYER] = ()
    skip_after: Annotated[tuple[str, ...], shared.SKIP_AFTER] = ()
    float_head: Annotated[bool, shared.FLOAT_HEAD] = False
    auto: Annotated[bool, fallback_options.AUTO] = False
    placement: Annotated[
        Placement | None,
        Option(
            QUANTIZATION,
            "Which activations are integers: ort is fast on CPUs, ascend is AMCT's way.  "
            "[default: ort; ascend with --record]",
        ),
    ] = None
    quantize_attention: Annotated[
        bool,
        Option(QUANTIZATION, "Quantize products of two activations too (attention); placement ort only."),
    ] = False
    act_type: Annotated[
        ActType | None,
        Option(
            QUANTIZATION,
            "Integer type of activations in ONNX; int8 is slow on x86.  [default: uint8; int8 with --target tensorrt]",
        ),
    ] = None
    weight_storage: Annotated[
        WeightStorage,
        Option(
            QUANTIZATION, "How ONNX stores weights of 4 bits or less: one per byte, or two per byte at the same speed."
        ),
    ] = WeightStorage.INT8
    isa: Annotated[
        TargetIsa | None,
        Option(
            QUANTIZATION,
            "x86 instructions of the target; avx2 is exact on CPUs without VNNI too (see amctq doctor); amx is for two "
            "threads and more.",
            default_help="those of this CPU",
        ),
    ] = None
    simulate: Annotated[
        bool,
        Option(
            RUN,
            "Compare with MindSpore's fake-quantized forward pass on all images, not only 256.",
            after="allow_poor_float",
        ),
    ] = False
    analyze: Annotated[bool, ANALYZE] = False
    tuning_images: Annotated[int | None, TUNING_WITH_ANALYZE] = None
    resume: Annotated[bool, fallback_options.RESUME] = False
    seed: Annotated[int, Option(RUN, "Random seed that chooses the calibration images.", min=0, after="batch_size")] = 1
    output_dir: Annotated[Path, replace(shared.OUTPUT_DIR, after="soc_version")] = Path("results")

    def __post_init__(self) -> None:
        super().__post_init__()
        options.refuse_two_shapes(self.inputs)
        options.refuse_other_weights(
            self.model,
            self.inputs,
            {"--ckpt": self.ckpt, "--name-map": self.name_map, "--num-classes": self.num_classes},
        )
        if self.max_drop is not None and self.eval_images == 0:
            message = "--max-drop needs an accuracy, and --eval-images 0 measures none"
            raise UsageError(message, hint="leave one of the two out")
        self._refuse_weight_options()
        self._refuse_what_is_not_tuned()
        said = {
            "--act-algo": self.act_algo is not None,
            "--act-symmetric": self.act_symmetric,
            "--per-tensor": self.per_tensor,
            "--weight-bits": self.weight_bits is not None,
            "--layer-bits": bool(self.layer_bits),
            "--weight-algo": self.weight_algo is not None,
            "--skip-layer": bool(self.skip_layers),
            "--skip-after": bool(self.skip_after),
            "--float-head": self.float_head,
            "--ifmr-variant": self.record is not None and self.ifmr_variant is not IfmrVariant.EXACT,
            "--hfmg-variant": self.record is not None and self.hfmg_variant is not HfmgVariant.FREE_ZEROS,
            "--arq-rule": self.record is not None and self.arq_rule is not None,
        }
        if self.placement is Placement.ORT:
            options.refuse_ort(record=self.record is not None, export=self.export)
        if self.quantize_attention and self.resolved_placement is not Placement.ORT:
            message = "--quantize-attention: placement ascend has layers only, and no products of two activations"
            raise UsageError(message, hint="leave it out, or use --placement ort with --export onnx alone")
        by_files = {"--config": self.config is not None, "--record": self.record is not None}
        for file, given in by_files.items():
            for option, spoken in said.items():
                if given and spoken:
                    message = f"{option} and {file} both say how layers are quantized"
                    raise UsageError(message, hint=f"leave {option} out, or {file}")

    @property
    def input_size(self) -> int | None:
        """Height and width of images, where ``--input`` says it and ``--image-size`` does not."""
        sides = {size for _, shape in self.inputs for size in shape[-2:] if len(shape) in {3, 4}}
        return sides.pop() if len(sides) == 1 and self.image_size is None else None

    @property
    def resolved_placement(self) -> Placement:
        """The placement asked for, or the default for the exported formats."""
        placement = self.placement or self.rules.first("placement")
        if placement is not None:
            return Placement(placement)
        fast = self.record is None and self.export in ((), (ExportFormat.ONNX,))
        return Placement.ORT if fast else Placement.ASCEND

    @property
    def resolved_act_type(self) -> ActType:
        """The integer type of activations."""
        return ActType(self.act_type or self.rules.first("act_type") or ActType.UINT8)

    @property
    def resolved_act_algo(self) -> ActAlgo:
        """The observer of activations, but for those that the run adapts."""
        return ActAlgo(self.act_algo or self.rules.first("act_algo") or ActAlgo.IFMR)

    @property
    def symmetric(self) -> bool:
        """Whether activations have the zero point 0."""
        return self.act_symmetric or self.rules.symmetric

    @property
    def resolved_weight_algo(self) -> WeightAlgo:
        """How the narrowest weights are rounded."""
        return self.weight_algo_of(self.narrowest_weights)

    @property
    def widest_weight_algo(self) -> WeightAlgo:
        """How weights of 8 bits are rounded: one algorithm rounds all widths that are chosen by their costs."""
        return self.resolved_weight_algo if self.weight_bits == AUTO else self.weight_algo_of(8)

    def weight_algo_of(self, bits: int) -> WeightAlgo:
        """How weights are rounded, or the default for their width."""
        if self.weight_algo is not None:
            return self.weight_algo
        return usual_weight_algo(bits) if self.arq_rule is None else WeightAlgo.ARQ

    @property
    def narrowest_weights(self) -> int:
        """The least number of bits that the options ask for."""
        asked = min(self.rules.widths) if self.weight_bits == AUTO else self.weight_bits or 8
        return min(asked, *(bits for _, bits in self.layer_bits), 8)

    @property
    def tunes(self) -> bool:
        """Whether some training images measure layers, or what is chosen for them."""
        return self.analyze or self.auto or self.weight_bits == AUTO

    def _refuse_what_is_not_tuned(self) -> None:
        refuse_idle_analysis(
            analyze=self.analyze,
            tunes=self.tunes,
            tuning_images=self.tuning_images,
            equalize=self.equalize,
            target=self.target,
        )
        width_options.refuse_width_options(
            weight_bits=self.weight_bits,
            max_size=self.max_size,
            max_drop=self.max_drop,
            layer_bits=self.layer_bits,
            backend=self.backend,
        )
        fallback_options.refuse_contradictions(
            auto=self.auto,
            widths=self.weight_bits == AUTO,
            resume=self.resume,
            force=self.force,
            max_drop=self.max_drop,
            record=self.record is not None,
            equalize=self.equalize,
        )

    def _refuse_weight_options(self) -> None:
        """Refuse weight options that contradict each other."""
        if self.bias_correction and self.record is not None:
            message = "--bias-correction and --record: a record says what the biases are"
            raise UsageError(message, hint="leave one of the two out")
        if self.equalize and self.record is not None:
            message = "--equalize and --record: a record holds the scales of the checkpoint's own weights"
            raise UsageError(message, hint="leave one of the two out")
        algo = self.resolved_weight_algo
        if algo is not WeightAlgo.ARQ and self.arq_rule is not None:
            message = f"--arq-rule {self.arq_rule.value} is a rule of ARQ, and --weight-algo is {algo.value}"
            raise UsageError(message, hint="leave one of the two out")
        options.refuse_rounding_in_order({algo}, tunes=self.tunes)
        options.refuse_types(self.isa, self.weight_storage, self.act_type)
        by_options = self.config is None and self.record is None
        if by_options and self.weight_storage is WeightStorage.INT4 and self.narrowest_weights > 4:
            message = f"--weight-storage int4 and --weight-bits {self.narrowest_weights}: INT4 holds 4 bits"
            raise UsageError(message, hint="add --weight-bits 4, or leave --weight-storage out")
