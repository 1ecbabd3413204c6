"""Seeded mutations of every kind of data: read, or refused with a message; never another error, never for long."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from amctq import PrepareCifarRequest, prepare_cifar
from amctq.data.inputs import IMAGE
from amctq.data.manifest import MANIFEST
from amctq.data.preprocess import Preprocessing
from amctq.data.source import find_dataset
from amctq.errors import AmctqError, CheckError, InputError, UsageError
from tests.data.mutations import DATASETS, mutated_json, write_archive
from tests.mutations import mutation_count

PREPROCESSING = Preprocessing(image_size=8, mean=(0.5, 0.5, 0.5), std=(0.2, 0.2, 0.2))
TRIES = mutation_count(300)
LONGEST = 10  # seconds of this process; the first image imports MindSpore


def _tries(one: Callable[[np.random.Generator], object]) -> None:
    """Run ``one`` with every seed: it ends, or raises an error of the input that says what to do."""
    refused = 0
    for seed in range(TRIES):
        start = time.process_time()
        error = _error(one, seed)
        assert time.process_time() - start < LONGEST, seed
        if error is not None:
            refused += 1
            assert isinstance(error, (InputError, UsageError, CheckError)), (seed, error)
            assert error.message, seed
            assert error.hint, (seed, error.message)
    assert 0 < refused < TRIES  # else the mutations are too weak, or too strong


def _error(one: Callable[[np.random.Generator], object], seed: int) -> Exception | None:
    try:
        one(np.random.default_rng(seed))
    except Exception as error:
        return error
    return None


@pytest.mark.parametrize("kind", sorted(DATASETS))
def test_datasets(kind: str, tmp_path: Path) -> None:
    def read(random: np.random.Generator) -> None:
        dataset = find_dataset(str(DATASETS[kind](tmp_path, random))).open(PREPROCESSING)
        for samples in (dataset.train, dataset.test):
            for inputs, labels in samples.batches(3) if samples else ():
                images = inputs[IMAGE]
                assert np.isfinite(images).all()
                assert images.dtype == np.float32
                assert len(images) == len(labels)
                assert (labels >= 0).all()

    _tries(read)


def test_archives(tmp_path: Path) -> None:
    def unpack(random: np.random.Generator) -> None:
        output = tmp_path / "data"
        archive, md5 = write_archive(tmp_path, random)
        try:
            prepare_cifar(PrepareCifarRequest(archive=archive, md5=md5, output_dir=output))
        except AmctqError:
            assert not output.exists()
            raise
        finally:
            assert {path.name for path in tmp_path.iterdir()} <= {"own.tar.gz", "data", "cwd"}
            shutil.rmtree(output, ignore_errors=True)

    _tries(unpack)


def test_manifests(tmp_path: Path) -> None:
    request = PrepareCifarRequest(synthetic=True, train_images=10, test_images=10, output_dir=tmp_path / "data")
    prepare_cifar(request)
    manifest = tmp_path / "data" / MANIFEST
    good = manifest.read_bytes()

    def prepare_again(random: np.random.Generator) -> None:
        manifest.write_bytes(mutated_json(good, random))
        prepare_cifar(request)

    _tries(prepare_again)
