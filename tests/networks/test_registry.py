"""The networks that amctq knows by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from amctq.choices import Device
from amctq.networks.registry import REGISTRY
from amctq.runtime import load_mindspore, resolve_device


@pytest.mark.parametrize("name", REGISTRY)
def test_the_number_of_parameters_is_that_of_the_network(name: str, tmp_path: Path) -> None:
    load_mindspore(resolve_device(Device.CPU, None), tmp_path)
    spec = REGISTRY[name]
    assert len(list(spec.build(10).get_parameters())) == spec.parameters


def test_the_number_tells_the_networks_apart() -> None:
    assert len({spec.parameters for spec in REGISTRY.values()}) == len(REGISTRY)
