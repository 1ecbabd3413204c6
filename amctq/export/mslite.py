"""What MindSpore Lite's converter_lite needs to quantize a MindIR file: its configuration and calibration samples.

The sections and keys are those of "Post Training Quantization" in MindSpore Lite's documentation (r2.x). A sample is a
file with the bytes of its array, in the layout of the MindIR file; ``--inputDataFormat=NCHW`` keeps that layout.
"""

from __future__ import annotations

import configparser
import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from amctq.choices import ActAlgo, LiteDevice
from amctq.data.inputs import InputSpec

if TYPE_CHECKING:
    from amctq.data.inputs import Inputs

# What converter_lite calls the observers that it has.
METHODS: Mapping[ActAlgo, str] = {
    ActAlgo.MINMAX: "MAX_MIN",
    ActAlgo.ENTROPY: "KL",
    ActAlgo.PERCENTILE: "REMOVAL_OUTLIER",
}


def converter_config(
    device: LiteDevice,
    folders: Mapping[str, str],
    samples: int,
    *,
    algo: ActAlgo,
    bias_correction: bool,
    per_channel: bool,
    skip: Sequence[str],
) -> str:
    """The text of ``--configFile`` of converter_lite.

    Args:
        device: what the file will run on.
        folders: by input of the network, the folder of its calibration samples.
        samples: how many there are.
        algo: the observer.
        bias_correction: biases make up for rounded weights.
        per_channel: weights have a scale for each output channel.
        skip: operators that stay in float, by their full names in the MindIR file.
    """
    config = configparser.ConfigParser(interpolation=None)
    config["common_quant_param"] = {"quant_type": "FULL_QUANT", "bit_num": "8", "min_quant_weight_size": "0"}
    if skip:
        config["common_quant_param"]["skip_quant_node"] = ",".join(skip)
    config["data_preprocess_param"] = {
        "calibrate_path": ",".join(f"{name}:{folder}" for name, folder in folders.items()),
        "calibrate_size": str(samples),
        "input_type": "BIN",
    }
    config["full_quant_param"] = {
        "activation_quant_method": METHODS[algo],
        "bias_correction": str(bias_correction).lower(),
        "per_channel": str(per_channel).lower(),
    }
    if device is LiteDevice.ASCEND:  # only devices other than CPUs have a name
        config["full_quant_param"]["target_device"] = device.value
    text = io.StringIO()
    config.write(text, space_around_delimiters=False)
    return text.getvalue()


def sample_files(folders: Mapping[str, str], inputs: Inputs) -> dict[str, bytes]:
    """The files of a batch of calibration samples, by name; one file for each sample and input."""
    return {
        f"{folder}/{index:05d}.bin": np.ascontiguousarray(sample).tobytes()
        for name, folder in folders.items()
        for index, sample in enumerate(inputs[name])
    }


def converter_command(device: LiteDevice, model: str, config: str, inputs: Mapping[str, InputSpec]) -> tuple[str, ...]:
    """The arguments of converter_lite, which runs in the folder of the files."""
    shapes = ";".join(f"{name}:{','.join(map(str, (1, *spec.shape)))}" for name, spec in inputs.items())
    return (
        "converter_lite",
        "--fmk=MINDIR",
        f"--modelFile={model}",
        f"--outputFile={model.removesuffix('.mindir')}_int8",  # .ms, or .mindir: not the name of what is read
        f"--configFile={config}",
        f"--inputShape={shapes}",
        "--inputDataFormat=NCHW",
        *(("--optimize=ascend_oriented",) if device is LiteDevice.ASCEND else ()),
    )
