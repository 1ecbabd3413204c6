"""What training minimises: the loss of the targets, and the distance from the float network that teaches."""

from __future__ import annotations

import contextlib
import inspect
import math
from collections.abc import Iterator
from typing import Any

import mindspore
import numpy as np
from mindspore import Tensor, nn, ops

from amctq.data.inputs import Inputs
from amctq.data.samples import Targets
from amctq.errors import InputError, Stopped, first_line
from amctq.plugins import USER_CODE_FAILURES, format_error, load_factory
from amctq.signals import signal_handlers_kept
from amctq.training.recipe import Distillation

_OPTION = "--loss"
_KINDS: dict[str, Any] = {"i": np.int32, "u": np.int32, "f": np.float32, "b": np.bool_}  # of targets, by NumPy's kind
_HINT = "expected a Cell or a function of outputs and targets that returns a scalar tensor"


def usual_loss() -> Any:
    """Cross-entropy of logits (N, classes) with classes (N,)."""
    return nn.CrossEntropyLoss()


def own_loss(text: str) -> Any:
    """The loss of the user: a Cell class, a function that returns a Cell, or a function (outputs, targets).

    Args:
        text: ``path/to/file.py:name``.

    Raises:
        InputError: there is none, or making it raises.
    """
    found: Any = load_factory(text, option=_OPTION)
    if isinstance(found, nn.Cell):
        return found
    needed = [item for item in inspect.signature(found).parameters.values() if item.default is item.empty]
    if not inspect.isclass(found) and needed:
        return found
    try:
        made = found()
    except Stopped:
        raise
    except USER_CODE_FAILURES as error:
        message = f"{_OPTION} {text} raised {format_error(error)}"
        raise InputError(message, hint="run it by itself, and correct it") from error
    if not callable(made):
        message = f"{_OPTION} {text} gives a {type(made).__name__}"
        raise InputError(message, hint=_HINT)
    return made


def check_loss(text: str | None, loss: Any, network: Any, inputs: Inputs, targets: Targets) -> None:
    """Compute the loss of a few samples, so that a fault of it is found before anything is measured.

    It is computed as in evaluation and as in training, where a network may do other things: one with auxiliary heads
    gives more outputs then.

    Args:
        text: the user's name of the loss; None for the usual one.
        loss: it.
        network: the float network, in inference mode.
        inputs: a batch.
        targets: of the batch.

    Raises:
        InputError: the network cannot be run in training mode, or the loss raises, gives anything but a finite float
            scalar, or has no gradient.
    """
    _check_value(text, loss, _outputs(network, inputs), targets)
    with _training(network):
        outputs = _outputs(network, inputs)
        value = _check_value(text, loss, outputs, targets, where=" in training mode")
        # A loss that is 0 may have reached its least value, where nothing is left to learn of these few samples.
        if text and value:
            _check_gradient(text, loss, network, inputs, targets)


@contextlib.contextmanager
def _training(network: Any) -> Iterator[None]:
    """Let a network be in training mode inside the block; what a forward pass changes then is restored."""
    kept = [(parameter, parameter.asnumpy().copy()) for parameter in network.untrainable_params()]
    network.set_train(True)
    try:
        yield
    finally:
        network.set_train(False)
        for parameter, values in kept:
            parameter.set_data(Tensor(values))


def _outputs(network: Any, inputs: Inputs) -> Any:
    """What a network gives for a batch, in float32."""
    try:
        with signal_handlers_kept():
            return in_float32(network(*map(Tensor, inputs.values())))
    except (InputError, Stopped):
        raise
    except USER_CODE_FAILURES as error:
        mode = "training" if network.training else "inference"
        message = f"in {mode} mode the network raises {type(error).__name__} on a batch: {first_line(error)}"
        raise InputError(
            message, hint="check --image-size; build a network with auxiliary heads without them"
        ) from error


def _check_value(text: str | None, loss: Any, outputs: Any, targets: Targets, where: str = "") -> float:
    """The loss of a batch."""
    named = f"{_OPTION} {text}" if text else "cross-entropy, the usual loss,"
    try:
        with signal_handlers_kept():
            value = loss(outputs, as_tensor(targets))
            array = in_float32(value).asnumpy() if hasattr(value, "asnumpy") else None
    except (InputError, Stopped):
        raise
    except USER_CODE_FAILURES as error:
        message = f"{named} raises {type(error).__name__} on a batch{where}: {first_line(error)}"
        raise InputError(message, hint=_HINT if text else "name the loss of your task with --loss") from error
    if array is None or array.size != 1:
        found = type(value).__name__ if array is None else f"a tensor {array.shape}"
        message = f"{named} gives {found}, expected a scalar"
        raise InputError(message, hint="take the mean over the batch")
    if not value.is_floating_point():
        message = f"{named} gives {str(value.dtype).lower()}, which has no gradient; expected a float"
        raise InputError(message, hint="compute it from the outputs without a cast to whole numbers")
    number = float(array.item())
    if not math.isfinite(number):
        message = f"{named} gives {number} for the float network{where}"
        raise InputError(message, hint="correct the loss, or the targets")
    return number


def _check_gradient(text: str, loss: Any, network: Any, inputs: Inputs, targets: Targets) -> None:
    weights = tuple(network.trainable_params())
    if not weights:
        return

    def forward(*tensors: Tensor) -> Tensor:
        return as_scalar(loss(in_float32(network(*tensors)), as_tensor(targets)))

    try:
        with signal_handlers_kept():
            _, gradients = ops.value_and_grad(forward, None, weights)(*map(Tensor, inputs.values()))
            learns = any(gradient.asnumpy().any() for gradient in gradients)
    except Stopped:
        raise
    except USER_CODE_FAILURES as error:
        message = f"{_OPTION} {text}: its gradient raises {type(error).__name__} on a batch: {first_line(error)}"
        raise InputError(message, hint=_HINT) from error
    if not learns:
        message = f"{_OPTION} {text}: its gradient is 0 for all {len(weights)} parameters, and nothing would be trained"
        raise InputError(message, hint="compute it from the outputs, with functions of MindSpore that have a gradient")


def as_tensor(targets: Targets) -> Tensor:
    """Targets for MindSpore: whole numbers as int32, others as float32.

    Raises:
        InputError: they have several shapes, are no numbers, or there are none.
    """
    if targets is None:
        message = "the targets of the training samples are None, and --loss needs targets"
        raise InputError(message, hint="let --dataset give with each sample what the loss compares its outputs with")
    array = np.asarray(targets) if isinstance(targets, np.ndarray) else None
    if array is None or array.dtype == object:
        message = "the targets of the training samples are no arrays of one shape"
        raise InputError(message, hint="training stacks them: fill boxes up to one number with rows of class -1")
    if array.dtype.kind not in _KINDS:
        message = f"the targets of the training samples are {array.dtype}, expected numbers"
        raise InputError(message, hint="give whole numbers, floats or truth values as targets")
    return Tensor(array.astype(_KINDS[array.dtype.kind]))


def as_scalar(loss: Tensor) -> Tensor:
    """A loss of one value, of any float type and shape, as the step computes with it."""
    return ops.cast(ops.reshape(loss, ()), mindspore.float32)


def in_float32(outputs: Any) -> Any:
    """A network's outputs, float16 as float32: one tensor, or a tuple of them."""
    if isinstance(outputs, (tuple, list)):
        return tuple([in_float32(output) for output in outputs])
    return ops.cast(outputs, mindspore.float32)


class TeacherLoss(nn.Cell):
    """The distance from the float network.

    Of logits it is the divergence KL(p || q) = sum of p (log p - log q), mean over the batch, times T², which keeps the
    gradient's size (Hinton et al. 2015, section 2). Of other outputs it is the mean squared difference, divided by the
    mean square of what the float network gives, so that it does not depend on the scale of the output.

    Args:
        distillation: gives the temperature.
        logits: the network gives logits.
    """

    def __init__(self, distillation: Distillation, *, logits: bool) -> None:
        super().__init__(auto_prefix=False)
        self.temperature = distillation.temperature
        self.logits = logits

    def construct(self, outputs: Any, taught: Any) -> Tensor:
        """The distance, a scalar.

        Args:
            outputs: of the network, float32: one tensor, or a tuple of them.
            taught: a tuple of what the float network gives.
        """
        if self.logits:
            teacher = ops.log_softmax(taught[0] / self.temperature, 1)
            student = ops.log_softmax(outputs / self.temperature, 1)
            return (ops.exp(teacher) * (teacher - student)).sum(1).mean() * self.temperature**2
        every = outputs if isinstance(outputs, (tuple, list)) else (outputs,)
        total = ops.zeros((), mindspore.float32)
        for index in range(len(every)):
            wanted = ops.cast(taught[index], mindspore.float32)
            total = total + ((every[index] - wanted) ** 2).mean() / ((wanted**2).mean() + 1e-12)
        return total / len(every)
