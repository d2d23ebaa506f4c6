"""Shared by all tests: quiet tracking, one thread, and a tiny catalogue that is built once a session."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import chdir
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["GENERATIVE_TRACKING"] = "off"
os.environ.pop("GENERATIVE_DEVICE", None)

import pytest
from ruamel.yaml import YAML

ROOT = Path(__file__).parent.parent


def read_yaml(path: Path) -> Any:
    return YAML(typ="safe").load(path.read_text())


def tiny_catalogue() -> dict[str, Any]:
    """params.yaml with the overlay tests/tiny.yaml."""
    content, overlay = read_yaml(ROOT / "params.yaml"), read_yaml(ROOT / "tests/tiny.yaml")
    for section, blocks in overlay.items():
        for name, block in blocks.items():
            content[section][name].update(block)
    return content


def write_catalogue(folder: Path, content: dict[str, Any]) -> None:
    with (folder / "params.yaml").open("w") as file:
        YAML().dump(content, file)


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder where every stage of the tiny catalogue has run. Tests must not write into it."""
    from generative.stages.download import download
    from generative.stages.encode import encode
    from generative.stages.evaluate import evaluate
    from generative.stages.preprocess import preprocess
    from generative.stages.sample import sample
    from generative.stages.train import train

    folder = tmp_path_factory.mktemp("built")
    content = tiny_catalogue()
    write_catalogue(folder, content)
    with chdir(folder):
        for name in content["data"]:
            download(name)
            preprocess(name)
        waiting, there = dict(content["models"]), set(content["data"])
        while waiting:  # first phases, what they encode, second phases
            ready = [name for name, block in waiting.items() if block["data"] in there]
            for name in ready:
                train(name)
                del waiting[name]
            for name, encoding in content["encodings"].items():
                if encoding["model"] in ready:
                    encode(name)
                    there.add(name)
        for name in content["models"]:
            evaluate(name)
            sample(name)
    return folder


@pytest.fixture
def in_built(built: Path) -> Iterator[Path]:
    with chdir(built):
        yield built


@pytest.fixture
def project(built: Path, tmp_path: Path) -> Iterator[Path]:
    """A copy of the tiny catalogue as it is built, to be spoilt; the current directory."""
    shutil.copytree(built, tmp_path, dirs_exist_ok=True)
    with chdir(tmp_path):
        yield tmp_path
