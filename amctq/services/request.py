"""The common parts of the requests of several commands: options, network, dataset, device."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from amctq.choices import WEIGHT_BITS, Device, ExportFormat
from amctq.data.pixel_range import out_of_range
from amctq.errors import InputError, UsageError
from amctq.services.option import INPUT, OUTPUT, QUANTIZATION, RUN, Limit, Option, Request
from amctq.services.spelling import fixed_width, formats, images_or_all, three_numbers

if TYPE_CHECKING:
    from amctq.data.preprocess import Preprocessing
    from amctq.data.samples import Dataset
    from amctq.data.source import DataSource
    from amctq.networks.model_spec import ModelSpec
    from amctq.progress import Reporter


def model_names() -> Iterable[str]:
    """Names of the networks that amctq knows."""
    from amctq.networks.registry import REGISTRY

    return REGISTRY


def _format_names() -> Iterable[str]:
    return [form.value for form in ExportFormat]


MOST_PIXELS = 1 << 14  # of a side of an image: 3 GB as float32
FINITE = Limit(expected="three finite numbers", holds=lambda numbers: all(map(math.isfinite, numbers)))
POSITIVE = Limit(expected="three numbers above 0", holds=lambda numbers: min(numbers) > 0)

DATASET = Option(
    INPUT,
    "CIFAR-10 (binary version), image folder, .npz file, or file.py:function.",
    metavar="DATA",
    aliases=("dataset_path",),
)
CKPT = Option(
    INPUT,
    "Weights: MindSpore's .ckpt, .safetensors, .npz, or PyTorch's .pth or .pt.",
    metavar="FILE",
    aliases=("checkpoint_path", "pre_trained"),
)
NAME_MAP = Option(
    INPUT, "JSON file: the network's names of parameters, and the checkpoint's where they differ.", metavar="FILE"
)
MODEL = Option(
    INPUT,
    "Network of the checkpoint: a known name, mindcv:NAME, or your own file.py:function.",
    metavar="NAME",
    aliases=("net",),
    complete=model_names,
)
NUM_CLASSES = Option(INPUT, "Number of classes of the checkpoint.  [default: 10; 1000 for mindcv:NAME]", min=2)
CALIB_IMAGES = Option(
    QUANTIZATION,
    "How many training images calibrate, at least 1: the ranges of activations come from them.  [default: 32]",
)
WIDTH = Option(
    QUANTIZATION,
    "Bits per weight.  [default: 8]",
    metavar="|".join(map(str, WEIGHT_BITS)),
    limits=(Limit(expected=f"one of {', '.join(map(str, WEIGHT_BITS))}", holds=WEIGHT_BITS.__contains__),),
    read=fixed_width,
)
SKIP_LAYER = Option(
    QUANTIZATION,
    "Leave these layers, and those inside these cells, in float; repeatable.",
    name="skip-layer",
    metavar="PATTERN",
)
SKIP_AFTER = Option(
    QUANTIZATION, "Leave all layers behind this layer, cell or tensor in float; repeatable.", metavar="TENSOR"
)
FLOAT_HEAD = Option(QUANTIZATION, "Leave the last layers before the outputs in float.")
MAX_DROP = Option(
    RUN,
    "Fail (exit 5) if top-1, or what --metric names, drops by more than this.",
    metavar="POINTS",
    limits=(Limit(expected="a finite number", holds=math.isfinite),),
)
ALLOW_POOR_FLOAT = Option(RUN, "Go on even if the float network is no better than chance.")
BACKEND = Option(RUN, "Quantization engine: amctq's own (native), or Huawei's amct_mindspore.", after="seed")
EXPORT = Option(
    OUTPUT,
    "Formats to write: onnx, mindir, ascend (for ATC), fakequant, air (needs an NPU), mslite.  "
    "[default: onnx, or that of --target; air with --backend amct]",
    metavar="FORMAT,…",
    read=formats,
    repeatable=True,
    complete=_format_names,
)
TARGET = Option(
    QUANTIZATION,
    "What the file is for. It sets the defaults of other options; with openvino, accuracy and speed are OpenVINO's.",
)
SOC_VERSION = Option(
    OUTPUT, "With --export ascend: compile for this chip with atc, for example Ascend310P3.", metavar="CHIP"
)
OUTPUT_DIR = Option(OUTPUT, "Folder for the output files.", metavar="DIR")
FORCE = Option(OUTPUT, "Replace files of an earlier run.")
MIRROR = Option(
    INPUT, "Base address to try first; it has the files under their published names. Repeatable.", metavar="URL"
)
RETRIES = Option(RUN, "Retries at one address; data that arrives resets the count.", min=0)
TIMEOUT = Option(RUN, "Give up a try after this time without data.", min=0.1, max=3600, metavar="SECONDS")
RETRY_DELAY = Option(
    RUN, "Wait before the first retry; it doubles each time, up to 30 s.", min=0, max=30, metavar="SECONDS"
)


@dataclass(frozen=True, kw_only=True)
class NetworkRequest(Request):
    """The common request of ``ptq``, ``qat`` and ``evaluate``: network, preprocessing, evaluation images, device.

    Attributes:
        name_map: None for a checkpoint with the names of MindSpore or PyTorch.
        num_classes: None means the number of the network's own checkpoint.
        eval_images: None means all.
    """

    model: Annotated[str, MODEL] = "resnet50"
    name_map: Annotated[Path | None, replace(NAME_MAP, after="ckpt")] = None
    image_size: Annotated[
        int | None,
        Option(
            INPUT,
            "Resize images to this height and width.  [default: the model's own]",
            metavar="PIXELS",
            min=8,
            max=MOST_PIXELS,
        ),
    ] = None
    mean: Annotated[
        tuple[float, float, float] | None,
        Option(
            INPUT,
            "Mean of red, green and blue, for pixels in 0…1.  [default: the model's own]",
            metavar="R,G,B",
            read=three_numbers,
            limits=(FINITE,),
        ),
    ] = None
    std: Annotated[
        tuple[float, float, float] | None,
        Option(
            INPUT,
            "Standard deviation of red, green and blue, for pixels in 0…1.  [default: the model's own]",
            metavar="R,G,B",
            read=three_numbers,
            limits=(FINITE, POSITIVE),
        ),
    ] = None
    num_classes: Annotated[int | None, NUM_CLASSES] = None
    eval_images: Annotated[
        int | None,
        Option(
            RUN,
            "How many test images measure accuracy; 0 for none.",
            metavar="all|N",
            min=0,
            read=images_or_all,
            default="all",
        ),
    ] = None
    metric: Annotated[
        str | None,
        Option(
            RUN,
            "How good the network is: top1, miou, psnr, mae, map50, or your own file.py:function of outputs and "
            "targets.  [default: top1 for a classifier]",
            metavar="NAME",
        ),
    ] = None
    batch_size: Annotated[int, Option(RUN, "Images in one batch.", min=1)] = 32
    device: Annotated[Device, Option(RUN, "Where MindSpore runs.", aliases=("device_target",))] = Device.AUTO
    device_id: Annotated[int | None, Option(RUN, "Index of the NPU.  [default: DEVICE_ID, else 0]", min=0)] = None

    def __post_init__(self) -> None:
        super().__post_init__()
        found = out_of_range(self.mean, self.std)
        if found is not None:
            shown = ",".join(f"{value:g}" for value in getattr(self, found.name))
            divided = (f"--{name} {','.join(map(str, values))}" for name, values in found.divided.items())
            by_255 = "they look like values for pixels in 0…255: divide them by 255, "
            message = f"--{found.name} {shown}: expected {found.expected}"
            hint = by_255 + " ".join(divided) if found.divided else "leave it out for the model's own"
            raise UsageError(message, hint=hint)

    def classes(self, spec: ModelSpec) -> int:
        """The number of classes of ``spec``, which has cells."""
        return self.num_classes or spec.num_classes

    def preprocessing(self, spec: ModelSpec) -> Preprocessing:
        """The preprocessing of images for ``spec``."""
        return spec.preprocessing(self.classes(spec)).changed(image_size=self.image_size, mean=self.mean, std=self.std)

    def open_dataset(
        self, source: DataSource, preprocessing: Preprocessing, reporter: Reporter, *, classes: int | None
    ) -> Dataset:
        """Open the dataset, check it, and say what was passed over.

        Args:
            source: the dataset.
            preprocessing: of its images.
            reporter: shows the warnings.
            classes: of the network; None where it is not known.

        Raises:
            UsageError: preprocessing options are given, but the images are already preprocessed.
            InputError: it cannot be read, or as ``checked``.
        """
        dataset = source.open(preprocessing)
        for notice in dataset.notices:
            reporter.warn(notice)
        if classes is not None and dataset.classes is not None and len(dataset.classes) < classes:
            reporter.warn(
                f"{dataset.name} has {len(dataset.classes)} class folders, and the network has {classes} classes: "
                "a class has the number of its folder, so a missing folder gives all that follow a wrong number"
            )
        return self.checked(dataset, classes)

    def checked(self, dataset: Dataset, classes: int | None) -> Dataset:
        """Check that the images match each other, the options and the network, and return ``dataset``.

        Raises:
            UsageError: preprocessing options are given, but the images are already preprocessed.
            InputError: training and test images have different shapes, or a label is no class of the network.
        """
        from amctq.data.inputs import described
        from amctq.data.samples import check_labels

        for samples in (dataset.train, dataset.test):
            if classes is not None and samples is not None and samples.labels is not None:
                check_labels(samples.labels, classes)
        if dataset.train is not None and dataset.test is not None:
            shapes = [described(samples.inputs) for samples in (dataset.train, dataset.test)]
            if shapes[0] != shapes[1]:
                message = f"training samples of {dataset.name} are {shapes[0]}, test samples {shapes[1]}"
                raise InputError(message, hint="prepare both in the same way")
        given = [
            f"--{name.replace('_', '-')}" for name in ("image_size", "mean", "std") if getattr(self, name) is not None
        ]
        some = dataset.train or dataset.test
        if given and some is not None and some.prepared:
            message = f"{', '.join(given)}: the images of {dataset.name} are float32 and taken as they are"
            raise UsageError(message, hint="leave the option out, or give uint8 images")
        return dataset
