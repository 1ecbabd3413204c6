"""What a file is given: inputs by name or in order, of the right type and size, in batches that it takes."""

from __future__ import annotations

import numpy as np
import pytest

from amctq.data.inputs import Inputs, InputSpec, joined, samples_in
from amctq.errors import InputError
from amctq.inference.session import FileSession, Outputs, Port, in_batches
from tests.arrays import image, image_spec

IDS, MASK = InputSpec(shape=(12,), dtype="int64"), InputSpec(shape=(12,), dtype="bool")
IMAGE_PORT = Port(name="x", type="tensor(float)", shape=("N", 3, 8, 8))
IDS_PORT = Port(name="ids", type="tensor(int64)", shape=("N", None))
MASK_PORT = Port(name="mask", type="tensor(bool)", shape=("N", 12))
SCORES = Port(name="y", type="tensor(float)", shape=("N", 5))


class File(FileSession):
    """A file that is not run."""

    def __init__(self, *inputs: Port, outputs: tuple[Port, ...] = (SCORES,)) -> None:
        self.inputs, self.outputs, self.metadata = inputs, outputs, {}

    def run(self, inputs: Inputs) -> Outputs:
        raise AssertionError


@pytest.mark.parametrize(
    ("file", "given"),
    [
        (File(IMAGE_PORT), image_spec(3, 8, 8)),
        (File(IDS_PORT, MASK_PORT), {"0": IDS, "1": MASK}),
        (File(IDS_PORT, MASK_PORT), {"mask": MASK, "ids": IDS}),
    ],
)
def test_samples_that_a_file_takes(file: File, given: dict[str, InputSpec]) -> None:
    file.check_input(given)


@pytest.mark.parametrize(
    ("file", "given", "says"),
    [
        (
            File(IMAGE_PORT),
            image_spec(3, 9, 8),
            r"takes x .*\[.*3, 8, 8\], and the dataset gives image float32 \(N, 3, 9",
        ),
        (File(IMAGE_PORT), image_spec(8, 8), r"gives image float32 \(N, 8, 8\)"),
        (File(IMAGE_PORT), {"image": InputSpec(shape=(3, 8, 8), dtype="int32")}, r"gives image int32 \(N, 3, 8, 8\)"),
        (File(IDS_PORT, MASK_PORT), {"0": MASK, "1": IDS}, r"takes ids .*, mask .*, and the dataset gives 0 bool"),
        (File(IDS_PORT, MASK_PORT), {"ids": IDS, "masks": MASK}, "gives ids .*, masks bool"),
        (File(IDS_PORT), {"ids": IDS, "mask": MASK}, "gives ids .*, mask bool"),
        (File(IDS_PORT, MASK_PORT), {"ids": IDS}, r"gives ids int64 \(N, 12\)$"),
        (File(), image_spec(3, 8, 8), "takes .*, and the dataset gives image float32"),
        (File(IMAGE_PORT, outputs=()), image_spec(3, 8, 8), "gives nothing, expected numbers"),
        (
            File(IMAGE_PORT, outputs=(SCORES, Port(name="text", type="tensor(string)", shape=("N",)))),
            image_spec(3, 8, 8),
            r"gives y .*, text tensor\(string\) .*, expected numbers",
        ),
    ],
)
def test_samples_that_a_file_does_not_take(file: File, given: dict[str, InputSpec], says: str) -> None:
    with pytest.raises(InputError, match=says):
        file.check_input(given)


def test_inputs_are_bound_by_name_or_else_in_order() -> None:
    ids, mask = np.ones((2, 12), np.int64), np.zeros((2, 12), bool)
    file = File(IDS_PORT, MASK_PORT)
    by_name = {"mask": mask, "ids": ids}
    assert file.bound(by_name) is by_name
    bound = file.bound({"0": ids, "1": mask})
    assert (bound["ids"] is ids, bound["mask"] is mask) == (True, True)


@pytest.mark.parametrize("samples", [1, 3, 7])
def test_a_file_of_one_batch_gets_such_batches(samples: int) -> None:
    images = image(np.random.default_rng(1).normal(size=(samples, 2, 4, 4)).astype(np.float32))
    seen: list[Inputs] = []

    def run(inputs: Inputs) -> Outputs:
        seen.append(inputs)
        return inputs["image"] + 1, inputs["image"].sum((1, 2, 3))

    whole, sums = in_batches(run, images, 3)
    np.testing.assert_array_equal(whole, images["image"] + 1)
    np.testing.assert_array_equal(sums, images["image"].sum((1, 2, 3)))
    assert {samples_in(batch) for batch in seen} == {3}
    assert not joined(seen)["image"][samples:].any()
