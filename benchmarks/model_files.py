"""``amctq ptq --model x.onnx`` on float ONNX of other producers, beside onnxruntime's ``quantize_static``.

    pip download --no-deps rapidocr-onnxruntime==1.4.4 nudenet==3.4.2 ddddocr==1.6.1 magika==1.0.3
    for wheel in *.whl; do unzip -qo -j $wheel '*.onnx' -d files; done
    python benchmarks/model_files.py --files files --data ../shared/data/imagenet_sample --work work

Both files are made of the same 32 samples, and compared with float on 16 others: signal to noise of the outputs in dB.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import harness
import numpy as np
import onnx
import onnx.version_converter
import onnxruntime
from numpy.typing import NDArray
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)
from onnxruntime.quantization.shape_inference import quant_pre_process
from PIL import Image, ImageDraw, ImageFont

# Files by what their producer is, with the shape of a sample; those of bytes get files of source code and programs.
FILES: Mapping[str, tuple[str, tuple[int, ...]]] = {
    "320n": ("PyTorch 2.3 (YOLOv8)", (3, 320, 320)),
    "common_det": ("PyTorch 1.9 (YOLOX), one image", (3, 416, 416)),
    "common": ("PyTorch 1.9 (CNN and LSTM), one image", (1, 64, 160)),
    "ch_PP-OCRv4_det_infer": ("PaddlePaddle", (3, 320, 320)),
    "ch_PP-OCRv4_rec_infer": ("PaddlePaddle", (3, 48, 320)),
    "ch_ppocr_mobile_v2.0_cls_infer": ("PaddlePaddle", (3, 48, 192)),
    "model": ("Keras by tf2onnx (Magika)", (2048,)),
    "common_old": ("onnxruntime's quantizer", (1, 64, 160)),
}
# They read text, so that the photos get a line of it.
READERS = frozenset({"ch_PP-OCRv4_det_infer", "ch_PP-OCRv4_rec_infer", "ch_ppocr_mobile_v2.0_cls_infer", "common"})
CALIBRATION, EVALUATION = 32, 16
MODULE = """
import numpy as np
ARRAYS = np.load({path!r})
def samples(role):
    return [(array, None) for array in ARRAYS[role]]
"""


def made(shape: tuple[int, ...], data: Path, *, text: bool) -> dict[str, NDArray[Any]]:
    """Samples of both roles: photos, or the first and the last bytes of files."""
    if len(shape) == 1:
        half, found = shape[0] // 2, sorted(Path(sys.prefix).glob("lib/python3*/site-packages/*/*.py"))
        contents = (path.read_bytes() for path in found)
        every = [np.frombuffer(code[:half] + code[-half:], np.uint8) for code in contents if len(code) >= shape[0]]
        arrays = np.stack(every[:: len(every) // (CALIBRATION + EVALUATION)][: CALIBRATION + EVALUATION])
        arrays = arrays.astype(np.int32)
    else:
        paths = sorted(path for path in data.rglob("*") if path.suffix.lower() in {".jpg", ".jpeg", ".png"})
        chosen = paths[:: len(paths) // (CALIBRATION + EVALUATION)][: CALIBRATION + EVALUATION]
        arrays = np.stack([image(path, shape, path.stem if text else "") for path in chosen])
    return {"train": arrays[:CALIBRATION], "test": arrays[CALIBRATION:]}


def image(path: Path, shape: tuple[int, ...], text: str) -> NDArray[np.float32]:
    """A photo (C, H, W) with a line of text, pixels in -1…1."""
    channels, height, width = shape
    opened = Image.open(path).convert("RGB" if channels == 3 else "L").resize((width, height))
    if text:
        size = min(height, width // len(text) * 2) * 0.7
        place = 4, (height - size) * (sum(text.encode()) % 7) / 7
        ImageDraw.Draw(opened).text(place, text, font=ImageFont.load_default(size), fill="white", stroke_fill="black")
    pixels = np.asarray(opened, np.float32).reshape(height, width, channels) / 127.5 - 1
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))


class Reader(CalibrationDataReader):  # type: ignore[misc]
    """The samples, one by one."""

    def __init__(self, name: str, arrays: NDArray[Any]) -> None:
        self._left: Iterator[NDArray[Any]] = iter(arrays)
        self._name = name

    def get_next(self) -> dict[str, NDArray[Any]] | None:
        array = next(self._left, None)
        return None if array is None else {self._name: array[None]}


def outputs(path: Path, arrays: NDArray[Any]) -> list[NDArray[Any]]:
    """All outputs of a file for each sample alone."""
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.x64quantprecision", "1")
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    each = [session.run(None, {name: array[None]}) for array in arrays]
    return [np.concatenate(one) for one in zip(*each, strict=True)]


def noise(path: Path, work: Path, name: str, samples: Mapping[str, NDArray[Any]]) -> str:
    """Signal to noise of the outputs of quantize_static's file, or why it made none."""
    raised, prepared, static = (work / f"{name}.{what}.onnx" for what in ("raised", "prepared", "static"))
    try:  # scales by channel need opset 13
        onnx.save(onnx.version_converter.convert_version(onnx.load(path), 17), raised)
        quant_pre_process(raised, prepared, skip_symbolic_shape=True)
        own = onnx.load(prepared).graph
        constants = {item.name for item in own.initializer}
        given = next(item.name for item in own.input if item.name not in constants)
        quantize_static(
            prepared,
            static,
            Reader(given, samples["train"]),
            quant_format=QuantFormat.QDQ,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            per_channel=True,
            calibrate_method=CalibrationMethod.MinMax,
        )
        return decibels(outputs(path, samples["test"]), outputs(static, samples["test"]))
    except Exception as error:
        return f"{type(error).__name__}: {str(error).splitlines()[0][:60]}"


def decibels(before: list[NDArray[Any]], after: list[NDArray[Any]]) -> str:
    """Of each output, 10 log10 of the mean square over that of the difference."""
    pairs = zip(before, after, strict=True)
    return ", ".join(
        f"{10 * np.log10(np.square(one).mean() / np.square(one - two).mean()):.1f} dB" for one, two in pairs
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=Path, required=True, help="folder with the .onnx files")
    parser.add_argument("--data", type=Path, required=True, help="folder with photos")
    parser.add_argument("--work", type=Path, required=True, help="folder for the results")
    arguments = parser.parse_args()
    arguments.work.mkdir(exist_ok=True)
    print("| file | producer | opset | exit | layers | amctq | quantize_static |\n|---|---|---|---|---|---|---|")
    for name, (producer, shape) in FILES.items():
        path, module = arguments.files / f"{name}.onnx", arguments.work / f"data_{len(shape)}_{name[:6]}.py"
        samples = made(shape, arguments.data, text=name in READERS)
        np.savez(module.with_suffix(".npz"), **samples)
        module.write_text(MODULE.format(path=str(module.with_suffix(".npz").resolve())))
        command = [harness.AMCTQ, "ptq", "--model", path, "--dataset", f"{module}:samples", "--json", "--force"]
        command += ["--calib-images", str(CALIBRATION), "--output-dir", arguments.work / name]
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
        answer = json.loads(done.stdout)
        opset = max(item.version for item in onnx.load(path).opset_import if not item.domain)
        if done.returncode:
            found = answer["errors"][0]["message"].removeprefix(f"{path}: ")
            print(f"| {name} | {producer} | {opset} | {done.returncode} | | {found} | |", flush=True)
            continue
        report = answer["data"]
        own = ", ".join(f"{item['sqnr_db']:.1f} dB" for item in report["fidelity"]["outputs"])
        layers = f"{len(report['quantization']['layers'])}, {len(report['quantization']['left_in_float'])} in float"
        other = noise(path, arguments.work, name, samples)
        print(f"| {name} | {producer} | {opset} | 0 | {layers} | {own} | {other} |", flush=True)


if __name__ == "__main__":
    main()
