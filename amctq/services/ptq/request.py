"""What ``amctq ptq`` is asked for, and what its options say against each other."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from amctq.choices import (
    WEIGHT_BITS,
    ActAlgo,
    ActType,
    ArqRule,
    BackendName,
    ExportFormat,
    IfmrVariant,
    Placement,
    TargetIsa,
    WeightAlgo,
    WeightStorage,
)
from amctq.errors import UsageError
from amctq.services.request import NetworkRequest, refuse_below
from amctq.services.run.atc import refuse_idle_soc_version


@dataclass(frozen=True, kw_only=True)
class PtqRequest(NetworkRequest):
    """What ``amctq ptq`` shall do; fields carry the names of the options.

    Attributes:
        dataset: CIFAR-10 folder, image folder, ``.npz`` file, or ``file.py:function``.
        ckpt: MindSpore checkpoint.
        calib_images: how many images calibrate; None for the configuration's batch_num, else 32.
        config: AMCT's config.json; None for every layer by AMCT's defaults.
        record: AMCT's calibration record, which makes calibration unnecessary; None to calibrate.
        act_algo: the observer; None for IFMR.
        ifmr_variant: AMCT's PyTorch code, or the Ascend operator.
        arq_rule: which of the two weight scales.
        act_symmetric: offsets fixed at 0.
        per_tensor: one weight scale for the tensor, in convolutions too.
        weight_bits: width of weights, one of WEIGHT_BITS; None for 8.
        weight_algo: what chooses the scales of weights; None for ARQ.
        weight_storage: whether 4-bit weights take a byte each in ONNX, or half a one.
        isa: the x86 instructions that the ONNX file is written for; None for those of this CPU.
        skip_layers: names or shell patterns of layers that stay in float.
        placement: which activations are quantized; None for what suits the formats: ``ort`` for ONNX made by
            calibration, else ``ascend``.
        act_type: integer type of activations in ONNX.
        export: formats to write; empty for what suits the back end, onnx or air.
        soc_version: the chip that ATC shall compile the deploy file for; None to leave that to others.
        backend: which engine.
        max_drop: fail when top-1 drops by more percentage points than this; None for no gate.
        allow_poor_float: go on although the float network is hardly better than chance.
        simulate: compare with the engine's own forward on every image, not only on 256.
        seed: chooses the calibration images.
        output_dir: where the files go.
        force: replace the files of a former run.
    """

    dataset: str | Path
    ckpt: Path
    calib_images: int | None = None
    config: Path | None = None
    record: Path | None = None
    act_algo: ActAlgo | None = None
    ifmr_variant: IfmrVariant = IfmrVariant.EXACT
    arq_rule: ArqRule = ArqRule.AMCT
    act_symmetric: bool = False
    per_tensor: bool = False
    weight_bits: int | None = None
    weight_algo: WeightAlgo | None = None
    weight_storage: WeightStorage = WeightStorage.INT8
    isa: TargetIsa | None = None
    skip_layers: tuple[str, ...] = ()
    placement: Placement | None = None
    act_type: ActType = ActType.UINT8
    export: tuple[ExportFormat, ...] = ()
    soc_version: str | None = None
    backend: BackendName = BackendName.AUTO
    max_drop: float | None = None
    allow_poor_float: bool = False
    simulate: bool = False
    seed: int = 1
    output_dir: Path = Path("results")
    force: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        refuse_below("--calib-images", self.calib_images, 1)
        refuse_below("--seed", self.seed, 0)
        refuse_idle_soc_version(self.soc_version, self.export)
        if self.max_drop is not None and not math.isfinite(self.max_drop):
            message = f"--max-drop {self.max_drop}: expected a number of percentage points"
            raise UsageError(message)
        if self.max_drop is not None and self.eval_images == 0:
            message = "--max-drop needs an accuracy, and --eval-images 0 measures none"
            raise UsageError(message, hint="leave one of the two out")
        self._refuse_weight_options()
        said = {
            "--act-algo": self.act_algo is not None,
            "--act-symmetric": self.act_symmetric,
            "--per-tensor": self.per_tensor,
            "--weight-bits": self.weight_bits is not None,
            "--weight-algo": self.weight_algo is not None,
            "--skip-layer": bool(self.skip_layers),
            "--ifmr-variant": self.record is not None and self.ifmr_variant is not IfmrVariant.EXACT,
            "--arq-rule": self.record is not None and self.arq_rule is not ArqRule.AMCT,
        }
        if self.placement is Placement.ORT:
            self._refuse_ort()
        by_files = {"--config": self.config is not None, "--record": self.record is not None}
        if all(by_files.values()):
            message = "--config and --record both say how layers are quantized"
            raise UsageError(message, hint="a record needs no configuration: leave one of the two out")
        for file, given in by_files.items():
            for option, spoken in said.items():
                if given and spoken:
                    message = f"{option} and {file} both say how layers are quantized"
                    raise UsageError(message, hint=f"leave {option} out, or {file}")

    def _refuse_ort(self) -> None:
        """Refuse placement ``ort`` where its scales are not known or cannot be written."""
        if self.record is not None:
            message = "--placement ort and --record: a record of AMCT holds the scales of placement ascend alone"
            raise UsageError(message, hint="leave --placement out, or calibrate without --record")
        others = [form.value for form in self.export if form is not ExportFormat.ONNX]
        if others:
            message = f"--placement ort and --export {','.join(others)}: this format has placement ascend alone"
            raise UsageError(message, hint="use --placement ascend, or --export onnx alone")

    @property
    def resolved_placement(self) -> Placement:
        """The placement asked for, or the one that suits what is exported."""
        if self.placement is not None:
            return self.placement
        fast = self.record is None and self.export in ((), (ExportFormat.ONNX,))
        return Placement.ORT if fast else Placement.ASCEND

    def _refuse_weight_options(self) -> None:
        """Refuse what options of weights say against each other."""
        if self.weight_bits is not None and self.weight_bits not in WEIGHT_BITS:
            message = f"--weight-bits {self.weight_bits}: expected one of {', '.join(map(str, WEIGHT_BITS))}"
            raise UsageError(message)
        if self.weight_algo is WeightAlgo.MSE and self.arq_rule is not ArqRule.AMCT:
            message = f"--arq-rule {self.arq_rule.value} is a rule of ARQ, and --weight-algo is mse"
            raise UsageError(message, hint="leave one of the two out")
        if self.isa is TargetIsa.AVX2 and self.weight_storage is WeightStorage.INT4:
            message = "--isa avx2 and --weight-storage int4 both say how weights are stored"
            raise UsageError(message, hint="4-bit weights are exact on every CPU: leave --isa avx2 out")
        if self.isa is TargetIsa.AVX2 and self.act_type is ActType.INT8:
            message = "--isa avx2 and --act-type int8: the exact products of AVX2 are those of uint8 and uint8"
            raise UsageError(message, hint="leave one of the two out")
        by_options = self.config is None and self.record is None
        if by_options and self.weight_storage is WeightStorage.INT4 and self.weight_bits != 4:
            message = f"--weight-storage int4 and --weight-bits {self.weight_bits or 8}: INT4 holds 4 bits"
            raise UsageError(message, hint="add --weight-bits 4, or leave --weight-storage out")
