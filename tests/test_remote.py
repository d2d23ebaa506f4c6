"""What was built on one machine is pushed to a remote, and another machine pulls it instead of building it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from workspace import Workspace, commit, make, snapshot

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("remote"), pytest.mark.timeout(600)]
HERE_ONLY = ("checked.txt", "work/", "runs/")  # made again by the first `dvc repro`, or of no use to another machine


def outputs(workspace: Workspace) -> dict[str, bytes]:
    files = snapshot(workspace.folder / "data")
    return {path: content for path, content in files.items() if not path.startswith(HERE_ONLY)}


def test_everything_is_pushed_and_pulled(tmp_path: Path) -> None:
    first = make(tmp_path / "first", ["mlp"])
    first.dvc("remote", "add", "--default", "store", str(tmp_path / "store"))
    first.dvc("repro")
    first.dvc("push")
    commit(first)
    assert json.loads(first.dvc("status", "--cloud", "--json")) == {}

    first.run("git", "clone", "-q", ".", str(tmp_path / "second"))
    second = Workspace((tmp_path / "second").resolve())
    assert not any("models" in path for path in outputs(second))
    second.dvc("pull")
    assert outputs(second) == outputs(first)

    printed = second.dvc("repro")
    assert printed.count("Running stage") == 1  # check, which makes nothing that another stage could differ by
    assert second.read("dvc.lock") == first.read("dvc.lock")
