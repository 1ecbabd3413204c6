"""Order and augmentation: pure functions of seed, epoch and index."""

from __future__ import annotations

import itertools
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from amctq.data.arrays import ArraySamples
from amctq.data.factory import open_factory
from amctq.data.folder import open_image_folder
from amctq.data.inputs import IMAGE, joined
from amctq.data.preprocess import Preprocessing
from amctq.data.samples import Batch
from amctq.errors import InputError
from amctq.training.augmentation import crop_and_flip
from amctq.training.batches import TrainingBatches, training_subset
from amctq.training.randomness import Purpose, below, draw, permutation

PLAIN = Preprocessing(image_size=32, mean=(0.0, 0.0, 0.0), std=(1 / 255, 1 / 255, 1 / 255))  # gives back the bytes


def _samples(count: int = 50) -> ArraySamples:
    pixels = np.random.default_rng(3).integers(0, 256, (count, 3, 32, 32), dtype=np.uint8)
    return ArraySamples(
        pixels=pixels, labels=np.arange(count), preprocessing=PLAIN, sources=("random",), indices=np.arange(count)
    )


def _batches(**more: object) -> TrainingBatches:
    settings: dict[str, object] = {"samples": _samples(), "batch_size": 8, "seed": 1, "augment": True, "classes": 50}
    return TrainingBatches(**(settings | more))  # type: ignore[arg-type]


def test_a_step_is_the_same_whoever_asks_and_when() -> None:
    forwards = [_batches().batch(step) for step in range(20)]
    one = _batches()
    backwards = [one.batch(step) for step in reversed(range(20))][::-1]
    found: list[Batch] = []
    thread = threading.Thread(target=lambda: found.append(one.batch(13)))
    thread.start()
    thread.join()
    for (images, labels), (again, same) in zip([*forwards, forwards[13]], [*backwards, found[0]], strict=True):
        np.testing.assert_array_equal(images[IMAGE], again[IMAGE])
        np.testing.assert_array_equal(labels, same)


def test_an_epoch_takes_every_image_once_in_an_order_of_its_own() -> None:
    batches = _batches()
    assert batches.steps_per_epoch == 6
    epochs = [np.concatenate([batches.positions(6 * epoch + step) for step in range(6)]) for epoch in range(30)]
    for epoch in epochs:
        assert len(set(epoch.tolist())) == 48
    for one, other in itertools.combinations(epochs, 2):
        assert not np.array_equal(one, other)
    # The two images that are left over are others each time: over 30 epochs all have been trained on.
    assert set(np.concatenate(epochs).tolist()) == set(range(50))
    assert not np.array_equal(_batches(seed=2).positions(0), batches.positions(0))


def test_devices_share_the_images_of_a_step() -> None:
    whole = _batches()
    for step in (0, 7):
        shares = [_batches(rank=rank, world_size=4) for rank in range(4)]
        assert {share.steps_per_epoch for share in shares} == {6}
        images, labels = zip(*(share.batch(step) for share in shares), strict=True)
        expected, classes = whole.batch(step)
        together = np.concatenate(labels)
        assert sorted(together.tolist()) == sorted(classes.tolist())
        order = [classes.tolist().index(label) for label in together]
        np.testing.assert_array_equal(joined(images)[IMAGE], expected[IMAGE][order])


def test_an_images_change_does_not_depend_on_its_batch() -> None:
    images = _samples().pixels
    together = crop_and_flip(images, seed=4, epoch=2, indices=np.arange(50))  # type: ignore[arg-type]
    for index in (0, 17, 49):
        alone = crop_and_flip(images[index : index + 1], seed=4, epoch=2, indices=np.asarray([index]))  # type: ignore[arg-type]
        np.testing.assert_array_equal(alone[0], together[index])


def test_images_are_cropped_and_flipped_as_the_sample_does_it() -> None:
    """Every result is one of the 9 × 9 crops of the padded image, or its mirror image; all of them turn up."""
    image = _samples(1).pixels[0]
    padded = np.pad(image, ((0, 0), (4, 4), (4, 4)))
    crops = {}
    for top, left in itertools.product(range(9), range(9)):
        crop = padded[:, top : top + 32, left : left + 32]
        crops[crop.tobytes()] = (top, left, False)
        crops[crop[:, :, ::-1].tobytes()] = (top, left, True)
    assert len(crops) == 162
    many = np.broadcast_to(image, (5000, 3, 32, 32))
    changed = crop_and_flip(many, seed=1, epoch=0, indices=np.arange(5000))
    found = [crops[item.tobytes()] for item in changed]
    assert len(set(found)) == 162
    assert np.mean([flip for _, _, flip in found]) == pytest.approx(0.5, abs=0.03)
    for axis in (0, 1):
        counts = np.bincount([place[axis] for place in found], minlength=9)
        assert counts.min() > 5000 / 9 * 0.8


def test_numbers_of_other_purposes_epochs_and_seeds_are_others() -> None:
    keys = itertools.product((0, 1, 2), Purpose, (0, 1, 2))
    bits = np.concatenate([draw(seed, purpose, epoch, np.arange(1000)) for seed, purpose, epoch in keys])
    assert len(np.unique(bits)) == len(bits)
    # Half of all bits are set, whichever bit one looks at.
    shares = [np.mean(bits >> np.uint64(bit) & np.uint64(1)) for bit in range(64)]
    np.testing.assert_allclose(shares, 0.5, atol=0.012)


def test_numbers_below_a_limit_are_even() -> None:
    counts = np.bincount(below(draw(1, Purpose.TOP, 0, np.arange(90_000)), 9))
    assert len(counts) == 9
    np.testing.assert_allclose(counts, 10_000, rtol=0.04)


def test_numbers_are_the_published_generators() -> None:
    """SplitMix64 from state 0 starts so (the reference implementation's own output)."""
    from amctq.training.randomness import _mixed

    states = np.asarray([0x9E3779B97F4A7C15 * k % (1 << 64) for k in (1, 2, 3)], np.uint64)
    assert [hex(int(value)) for value in _mixed(states)] == [
        "0xe220a8397b1dcdaf",
        "0x6e789e6aa1b965f4",
        "0x6c45d188009454f",
    ]


def test_a_subset_is_of_all_parts() -> None:
    samples = _samples()
    some = training_subset(samples, 20, 1)
    assert len(some) == 20
    assert (np.diff(some.indices) > 0).all()
    assert some.indices.max() > 30
    assert training_subset(samples, None, 1) is samples
    assert not np.array_equal(some.indices, training_subset(samples, 20, 2).indices)
    assert sorted(permutation(1, Purpose.ORDER, 0, 50).tolist()) == list(range(50))


def test_without_augmentation_images_are_as_they_are() -> None:
    inputs, labels = _batches(augment=False).batch(0)
    np.testing.assert_array_equal(inputs[IMAGE], _samples().pixels[labels])


def test_images_of_a_folder_are_resized_changed_and_normalized(tmp_path: Path) -> None:
    random = np.random.default_rng(5)
    for name in ("cat", "dog"):
        (tmp_path / "train" / name).mkdir(parents=True)
        for index in range(3):
            pixels = random.integers(0, 256, (40, 50, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "train" / name / f"{index}.png")
    samples = open_image_folder(tmp_path, PLAIN).train
    assert samples is not None
    (expected, classes), *_ = samples.batches(6)
    order = np.asarray([4, 0, 4])
    plain, labels = samples.chosen(order)
    np.testing.assert_array_equal(plain[IMAGE], expected[IMAGE][order])
    np.testing.assert_array_equal(labels, classes[order])
    mirrored, _ = samples.chosen(order, lambda images: images[:, :, :, ::-1])
    np.testing.assert_array_equal(mirrored[IMAGE], expected[IMAGE][order][:, :, :, ::-1])


def test_a_function_must_give_what_can_be_asked_for(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(
        "import numpy as np\n"
        "def items(role):\n    return [(np.full((3, 8, 8), index, np.float32), index % 2) for index in range(9)]\n"
        "def stream(role):\n    return iter(items(role))\n"
    )
    samples = open_factory(f"{tmp_path}/own.py:items").train
    assert samples is not None
    inputs, labels = samples.chosen(np.asarray([7, 2]), lambda images: images[:, :, ::-1])
    assert inputs[IMAGE][:, 0, 0, 0].tolist() == [7, 2]
    assert labels.tolist() == [1, 0]
    stream = open_factory(f"{tmp_path}/own.py:stream").train
    assert stream is not None
    with pytest.raises(InputError, match="images in one order only"):
        stream.chosen(np.asarray([0]))
