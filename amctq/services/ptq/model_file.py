"""What a file with the network leaves open: dynamic sizes of its inputs, and how images are prepared."""

from __future__ import annotations

from typing import TYPE_CHECKING

from amctq.data.samples import Samples
from amctq.errors import UsageError, nearest
from amctq.progress import Reporter
from amctq.services.ptq.request import PtqRequest
from amctq.services.stored_preprocessing import say_assumed

if TYPE_CHECKING:
    from amctq.networks.model_file import ModelFile


def settle(request: PtqRequest, file: ModelFile, samples: Samples, reporter: Reporter) -> None:
    """Check that the samples settle every dynamic size as the options say; say how images are prepared.

    Args:
        request: the request.
        file: the network.
        samples: some samples of the run.
        reporter: says what was assumed.

    Raises:
        UsageError: no option says the size of images that the file leaves open, or ``--input`` names no input of the
            file, or another shape than the samples have.
        InputError: the samples do not fit the file's inputs.
    """
    names = file.names(samples.inputs)
    own = {names[name]: spec for name, spec in samples.inputs.items()}
    for name, shape in request.inputs:
        if name not in own:
            message = f"--input {name}: {file.path} takes {', '.join(own)}"
            raise UsageError(message, hint=nearest(name, own))
        if own[name].shape not in {shape, shape[1:]}:
            message = f"--input {name}: expected {list(shape)}, and the samples are {own[name]}"
            hint = "images of a folder are square; a --dataset file.py:function gives any shape"
            raise UsageError(message, hint=hint)
    if samples.preprocessing is None:
        return
    if file.image_size is None and request.image_size is None and not request.inputs:
        message = f"{file.path} takes images of any size: {', '.join(map(str, file.inputs))}"
        raise UsageError(message, hint="say theirs with --image-size, or with --input NAME:SHAPE")
    if request.mean is None or request.std is None:
        say_assumed(file.path, samples.preprocessing, reporter.info)
