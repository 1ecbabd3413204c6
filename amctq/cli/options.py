"""Options that commands share, each declared once: name, environment variable, help."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from amctq.choices import BackendName, Device, ExportFormat

INPUT, QUANTIZATION, TRAINING, RUN, OUTPUT = "Input", "Quantization", "Training", "Run", "Output"
EPILOG = "Every option can also be set in the environment, --calib-images as AMCTQ_CALIB_IMAGES and so on."


def option(*names: str, panel: str, help: str = "", **settings: Any) -> Any:
    """A Typer option that AMCTQ_<NAME> sets as well; the command line wins over it."""
    return typer.Option(
        *names,
        envvar="AMCTQ_" + names[0].removeprefix("--").replace("-", "_").upper(),
        show_envvar=False,
        rich_help_panel=panel,
        case_sensitive=False,
        help=help.replace("[default", r"\[default"),  # else Rich takes it for markup, and shows nothing
        **settings,
    )


def aliases(*, more_behind_dashes: bool = False, **spellings: str) -> type[TyperCommand]:
    """A command class that understands the samples' spellings, which help does not show.

    Args:
        more_behind_dashes: what stands behind ``--`` are further options, as a script may add them.
        spellings: the samples' option name without dashes → the option of amctq without dashes. Besides, every
            option may be written with underscores, and every spelling of the samples with dashes.
    """
    renamed = {f"--{old}".replace("_", "-"): f"--{new}" for old, new in spellings.items()}

    def translate(argument: str) -> str:
        name, equals, value = argument.partition("=")
        if not name.startswith("--"):
            return argument
        name = name.replace("_", "-")
        return renamed.get(name, name) + equals + value

    class CommandWithAliases(TyperCommand):
        def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
            if more_behind_dashes:
                args = [argument for argument in args if argument != "--"]
            end = args.index("--") if "--" in args else len(args)
            return super().parse_args(ctx, [*map(translate, args[:end]), *args[end:]])

    return CommandWithAliases


def images_or_all(text: str) -> int:
    """``all`` as -1, else a number of images."""
    if text.lower() == "all":
        return -1
    if not text.isdigit():
        message = f"{text!r} is neither a number of images nor 'all'"
        raise typer.BadParameter(message)
    return int(text)


def count_or_none(images: int) -> int | None:
    """What a request takes for what ``images_or_all`` gave."""
    return None if images < 0 else images


def three_numbers(text: str) -> tuple[float, float, float]:
    """``R,G,B`` as numbers."""
    try:
        red, green, blue = (float(part) for part in text.split(","))
    except ValueError:
        message = f"{text!r} is no list of three numbers, as in 0.485,0.456,0.406"
        raise typer.BadParameter(message) from None
    return red, green, blue


def formats(values: list[str]) -> tuple[ExportFormat, ...]:
    """``onnx,mindir`` and repeated options as formats, each once.

    Raises:
        typer.BadParameter: one of them is none.
    """
    known = {form.value: form for form in ExportFormat}
    names = [name.strip().lower() for value in values for name in value.split(",")]
    for name in names:
        if name not in known:
            message = f"{name!r} is not a format ({', '.join(known)})"
            raise typer.BadParameter(message, param_hint="'--export'")
    return tuple(dict.fromkeys(known[name] for name in names))


def _complete_model(incomplete: str) -> list[str]:
    from amctq.networks.registry import REGISTRY

    return [name for name in REGISTRY if name.startswith(incomplete)]


def _complete_format(incomplete: str) -> list[str]:
    return [form.value for form in ExportFormat if form.value.startswith(incomplete)]


Dataset = Annotated[
    str,
    option(
        "--dataset",
        panel=INPUT,
        metavar="DATA",
        help="CIFAR-10 (binary version) or image folder, .npz file, or file.py:function.",
    ),
]
Ckpt = Annotated[Path, option("--ckpt", panel=INPUT, metavar="FILE", help="MindSpore checkpoint.")]
Model = Annotated[
    str,
    option(
        "--model",
        panel=INPUT,
        metavar="NAME",
        autocompletion=_complete_model,
        help="The network that the checkpoint belongs to, or your own: file.py:function.",
    ),
]
ModelArgument = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        envvar="AMCTQ_MODEL",
        show_envvar=False,
        autocompletion=_complete_model,
        help="The network, one of ptq's --model.",
    ),
]
ImageSize = Annotated[
    int | None,
    option(
        "--image-size",
        panel=INPUT,
        metavar="PIXELS",
        min=8,
        help="Resize images to this height and width.  [default: the model's own]",
    ),
]
Mean = Annotated[
    Any,
    option(
        "--mean",
        panel=INPUT,
        metavar="R,G,B",
        parser=three_numbers,
        help="Of red, green, blue in 0…1.  [default: the model's own]",
    ),
]
Std = Annotated[
    Any,
    option(
        "--std",
        panel=INPUT,
        metavar="R,G,B",
        parser=three_numbers,
        help="Standard deviation, in 0…1.  [default: the model's own]",
    ),
]
NumClasses = Annotated[int, option("--num-classes", panel=INPUT, min=2, help="Classes of the checkpoint.")]
BatchSize = Annotated[int, option("--batch-size", panel=RUN, min=1, help="Images in one forward pass.")]
EvalImages = Annotated[
    int,
    option(
        "--eval-images",
        panel=RUN,
        metavar="all|N",
        parser=images_or_all,
        help="Test images to measure accuracy on; 0 for none.",
    ),
]
Seed = Annotated[int, option("--seed", panel=RUN, min=0, help="Chooses the calibration images.")]
Backend = Annotated[
    BackendName, option("--backend", panel=RUN, help="The engine: amctq's own, or Huawei's amct_mindspore.")
]
DeviceName = Annotated[Device, option("--device", panel=RUN, help="Where MindSpore runs.")]
DeviceId = Annotated[
    int | None,
    option("--device-id", panel=RUN, min=0, help="Index of the NPU.  [default: DEVICE_ID, else 0]"),
]
Export = Annotated[
    list[str],
    option(
        "--export",
        panel=OUTPUT,
        metavar="FORMAT,…",
        autocompletion=_complete_format,
        help="What to write: onnx, mindir, ascend (for ATC), fakequant (air needs an NPU).  "
        "[default: onnx; air with --backend amct]",
    ),
]
SocVersion = Annotated[
    str | None,
    option(
        "--soc-version",
        panel=OUTPUT,
        metavar="CHIP",
        help="With --export ascend: let atc compile the deploy file for this chip, such as Ascend310P3.",
    ),
]
OutputDir = Annotated[Path, option("--output-dir", panel=OUTPUT, metavar="DIR", help="Where the files go.")]
Mirror = Annotated[
    list[str],
    option(
        "--mirror",
        panel=INPUT,
        metavar="URL",
        help="A base address to try first, for every file under its published name; repeatable.",
    ),
]
Insecure = Annotated[
    bool, option("--insecure", panel=RUN, help="Do not check the certificates of servers, in this call.")
]
Retries = Annotated[
    int, option("--retries", panel=RUN, min=0, help="Further tries at an address, in a row, without getting on.")
]
Timeout = Annotated[
    float, option("--timeout", panel=RUN, min=0.1, metavar="SECONDS", help="Without a byte, until a try is given up.")
]
RetryDelay = Annotated[
    float,
    option(
        "--retry-delay",
        panel=RUN,
        min=0,
        max=30,
        metavar="SECONDS",
        help="Before the second try; each later one waits twice as long, 30 s at most.",
    ),
]
Force = Annotated[bool, option("--force", panel=OUTPUT, help="Replace the files of a former run.")]
Json = Annotated[bool, option("--json", panel=OUTPUT, help="One JSON object on stdout, also on failure.")]
Quiet = Annotated[bool, option("--quiet", "-q", panel=OUTPUT, help="No progress, notices or warnings.")]
Verbose = Annotated[bool, option("--verbose", "-v", panel=OUTPUT, help="Details, and tracebacks of errors.")]
