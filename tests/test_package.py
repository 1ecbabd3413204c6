"""What a package index and a type checker need to know of the package."""

from __future__ import annotations

import hashlib
import runpy
import sys
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from packaging.specifiers import SpecifierSet

import amctq

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[1]
# Of https://www.apache.org/licenses/LICENSE-2.0.txt, which nobody may change.
APACHE_2 = "cfc7749b96f63bd31c3c42b5c471bf756814053e847c10f3eb003417bc523d30"


@pytest.fixture(scope="module")
def pyproject() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def test_type_checkers_read_the_annotations() -> None:
    assert resources.files("amctq").joinpath("py.typed").is_file()


def test_the_license_is_apache_2(pyproject: dict[str, Any]) -> None:
    project = pyproject["project"]
    assert project["license"] == "Apache-2.0"
    assert project["license-files"] == ["LICENSE", "NOTICE"]
    assert hashlib.sha256((ROOT / "LICENSE").read_bytes()).hexdigest() == APACHE_2
    assert project["authors"][0]["name"] in (ROOT / "NOTICE").read_text()


def test_the_version_is_written_once(pyproject: dict[str, Any]) -> None:
    assert "version" not in pyproject["project"]
    assert "version" in pyproject["project"]["dynamic"]
    source = ROOT / pyproject["tool"]["hatch"]["version"]["path"]
    assert runpy.run_path(str(source))["__version__"] == amctq.__version__
    assigning = [path for path in (ROOT / "amctq").rglob("*.py") if "\n__version__ =" in path.read_text()]
    assert assigning == [source]


def test_classifiers_name_the_versions_of_python_that_are_allowed(pyproject: dict[str, Any]) -> None:
    named = {text.rpartition(" ")[2] for text in pyproject["project"]["classifiers"] if "Python :: 3." in text}
    allowed = SpecifierSet(pyproject["project"]["requires-python"])
    assert named == set(allowed.filter(f"3.{minor}" for minor in range(30)))
