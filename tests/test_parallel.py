"""The flow leaves what a serial `dvc repro` leaves, whatever the number of workers; a crash stays alone."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, read_yaml
from workspace import Workspace, make

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("parallel"), pytest.mark.timeout(900)]

MODELS = ("mlp", "vae", "vae_probe")


def own(folder: Path) -> Workspace:
    """A workspace that has the flows too."""
    workspace = make(folder, MODELS)
    for room in ("flows", "tasks"):
        shutil.copytree(ROOT / room, workspace.folder / room, ignore=shutil.ignore_patterns("__pycache__"))
    return workspace


def outputs(workspace: Workspace) -> dict[str, dict[str, Any]]:
    """Of every stage in dvc.lock, the command and the hashes of what it depends on and of what it made."""
    stages = read_yaml(workspace.folder / "dvc.lock")["stages"]
    return {name: {part: stages[name].get(part) for part in ("cmd", "params", "deps", "outs")} for name in stages}


@pytest.fixture(scope="module")
def serial(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    workspace = own(tmp_path_factory.mktemp("serial") / "workspace")
    workspace.dvc("repro")
    return workspace


@pytest.mark.parametrize("workers", ["1", "2"])
def test_the_flow_leaves_the_lock_of_a_serial_run(serial: Workspace, tmp_path: Path, workers: str) -> None:
    workspace = own(tmp_path / "workspace")
    printed = workspace.run("python", "-m", "flows.catalogue", "--workers", workers)
    expected = outputs(serial)
    assert f"{len(expected)} ran; " in printed
    assert outputs(workspace) == expected
    assert json.loads(workspace.dvc("status", "--json")) == {}
    assert not workspace.processes("tasks.")
    assert re.fullmatch(rf"{len(expected)} up to date; [\d.]+ s in all\n", workspace.run("python", "-m", "flows.catalogue"))


CRASH = """
import ctypes, os
if os.environ.get("DVC_STAGE") == "train@mlp":
    ctypes.string_at(0)
"""


def test_a_stage_that_crashes_takes_no_other_with_it(tmp_path: Path) -> None:
    workspace = own(tmp_path / "workspace")
    with (workspace.folder / "src/generative/models/foundations/mlp.py").open("a") as file:
        file.write(CRASH)
    printed = workspace.run("python", "-m", "flows.catalogue", "--workers", "2", code=1)
    assert (
        "train@mlp failed: failed to reproduce 'train@mlp': failed to run: exec python -m generative.stages.train mlp, exited with -11"
        in printed
    )
    assert "not started: evaluate@mlp, sample@mlp" in printed
    assert re.search(r"^10 ran, 1 failed, 2 blocked; ", printed, re.MULTILINE)
    assert not workspace.processes("tasks.")
