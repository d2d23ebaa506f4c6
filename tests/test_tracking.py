"""What a stage notes stands in the spool at once, and noting it costs the stage nothing and never stops it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from generative.errors import UsageError
from generative.training.tracking import SPOOL, Run, dvc_verb, execution, revision


@pytest.fixture
def spool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty workspace without a courier."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GENERATIVE_TRACKING", "spool")
    return tmp_path / SPOOL


def noted(spool: Path) -> list[dict[str, Any]]:
    (events,) = spool.glob("*/events.jsonl")
    return [json.loads(line) for line in events.read_text().splitlines()]


def test_noting_is_quick(spool: Path) -> None:
    with Run("train", "vae", {}, {}) as run:
        start = time.process_time()
        for step in range(10_000):
            run.metrics({"loss": 0.1, "kl": 0.2, "reconstruction": 0.3}, step)
        assert time.process_time() - start < 1
    assert len(noted(spool)) == 10_002


def test_tracking_imports_nothing_heavy() -> None:
    code = "import sys, generative.training.tracking, generative.training.delivery; print(*sys.modules)"
    answer = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert not {"mlflow", "torch", "numpy", "psutil"} & set(answer.stdout.split())


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (None, "FINISHED"),
        (SystemExit(0), "FINISHED"),
        (SystemExit(2), "FAILED"),
        (ValueError("x"), "FAILED"),
        (SystemExit(128 + signal.SIGTERM), "KILLED"),
        (KeyboardInterrupt(), "KILLED"),
    ],
)
def test_how_a_run_ended(spool: Path, error: BaseException | None, status: str) -> None:
    with suppress(BaseException), Run("train", "vae", {}, {}):
        if error:
            raise error
    assert noted(spool)[-1]["status"] == status


def test_tracking_off_writes_nothing(spool: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GENERATIVE_TRACKING", "off")
    with Run("train", "vae", {}, {}) as run:
        run.metrics({"loss": 1.0}, 0)
        run.image("samples", Path("nowhere.png"), 0)
    assert not spool.exists()
    monkeypatch.setenv("GENERATIVE_TRACKING", "of")
    with pytest.raises(UsageError, match="GENERATIVE_TRACKING: expected one of on, spool, off; got 'of'"):
        Run("train", "vae", {}, {})


def test_a_spool_that_cannot_be_written_stops_no_stage(spool: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spool.parent.mkdir()
    spool.write_text("in the way")
    with Run("train", "vae", {}, {}) as run:
        run.metrics({"loss": 1.0}, 0)
    assert "train vae: this run is no longer tracked" in capsys.readouterr().err


def test_an_experiment_in_a_copy_is_noted_in_the_workspace(spool: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = tmp_path / ".dvc" / "tmp" / "exps" / "copy"
    copy.mkdir(parents=True)
    monkeypatch.chdir(copy)
    with Run("train", "vae", {}, {}):
        pass
    assert noted(spool)[-1]["status"] == "FINISHED"


def test_an_execution_is_the_flow_or_the_dvc_above(spool: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GENERATIVE_EXECUTION", "it's one")
    assert execution("train")["id"] == "it-s-one"
    monkeypatch.delenv("GENERATIVE_EXECUTION")
    alone = execution("train")
    assert alone["name"].startswith("train 20") and str(os.getpid()) in alone["id"]
    asks = "from generative.training.tracking import execution; print(execution('train'))"
    Path("dvc").write_text(f"import os, subprocess, sys\nprint(os.getpid(), flush=True)\nsubprocess.run([sys.executable, '-c', {asks!r}])")
    answer = subprocess.run([sys.executable, "dvc", "repro"], check=True, capture_output=True, text=True)
    pid, found = answer.stdout.splitlines()
    assert f"-{pid}-" in found and "'dvc repro 20" in found


@pytest.mark.parametrize(
    ("line", "verb"),
    [
        ("/venv/bin/python /venv/bin/dvc repro train@vae", "repro"),
        ("python3 -m dvc --wait-for-lock repro", "repro"),
        ("dvc exp run", "exp"),
        ("sh -c dvc repro", ""),
        ("python -m generative.stages.train dvc", ""),
    ],
)
def test_a_dvc_is_known_by_its_command_line(line: str, verb: str) -> None:
    assert dvc_verb(line.split()) == verb


def test_a_revision_is_dirty_by_hand_only(spool: Path) -> None:
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b"]
    Path("params.yaml").write_text("a: 1")
    Path("code.py").write_text("")
    Path("dvc.lock").write_text("")
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "first"]):
        subprocess.run([*git, *command], check=True)
    clean = revision()
    assert len(clean) == 12
    Path("dvc.lock").write_text("written by the pipeline")
    Path("params.yaml").write_text("a: 2")  # a scale
    assert revision() == clean
    Path("code.py").write_text("changed")
    assert revision() == f"{clean}-dirty"
