"""dvc.lock: written in one step as DVC would write it, and mended where a killed DVC left half of it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import chdir
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from conftest import ROOT
from dvc.dvcfile import Lockfile
from dvc.schema import COMPILED_LOCKFILE_SCHEMA
from dvc.utils.serialize import load_yaml, parse_yaml
from dvc.utils.serialize._yaml import modify_yaml

from tasks import mend, record

TEXT = (ROOT / "dvc.lock").read_text(encoding="utf-8")
STAGES = ("check", "download@moons", "train@mlp", "evaluate@mlp", "sample@mlp")
SHORT = record.HEAD + "".join(
    re.search(rf"^  {stage}:\n(?:   .*\n)*", TEXT, re.MULTILINE)[0]  # type: ignore[index]
    for stage in STAGES
)


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(mend.time, "sleep", lambda seconds: None)
    (tmp_path / ".dvc/tmp").mkdir(parents=True)
    with chdir(tmp_path):
        yield


# --- in one step


def change(stage: str, data: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Writes this of the stage into dvc.lock our way; returns the files that Git was told of."""
    tracked: list[str] = []
    monkeypatch.setattr(Lockfile, "dump_stages", Lockfile.dump_stages)  # is put back afterwards
    monkeypatch.setattr("dvc.stage.serialize.to_lockfile", lambda stage: {stage.name: data})
    record.keep_in_one_step()
    repo = SimpleNamespace(scm_context=SimpleNamespace(track_file=tracked.append), fs=None)
    lockfile = SimpleNamespace(path=str(Path("dvc.lock").resolve()), relpath="dvc.lock", repo=repo)
    Lockfile.dump_stages(lockfile, [SimpleNamespace(name=stage)])  # type: ignore[arg-type]
    return tracked


@pytest.mark.parametrize("stage", ["check", "train@mlp", "sample@mlp", "train@new"])
def test_a_stage_is_recorded_to_the_byte_as_dvc_does(monkeypatch: pytest.MonkeyPatch, stage: str) -> None:
    data = load_yaml(ROOT / "dvc.lock")["stages"][stage.replace("new", "vae")]
    data["outs"][0] |= {"size": 7, "path": "a path: with a colon, and words enough that the line of it has to be broken after column 80"}
    for name in ("dvc.lock", "dvcs"):
        Path(name).write_text(SHORT, encoding="utf-8")
    with modify_yaml("dvcs") as content:
        content["stages"][stage] = data
    assert change(stage, data, monkeypatch) == ["dvc.lock"]
    assert Path("dvc.lock").read_text(encoding="utf-8") == Path("dvcs").read_text(encoding="utf-8") != SHORT
    assert change(stage, data, monkeypatch) == []


def test_the_first_stage_begins_a_record(monkeypatch: pytest.MonkeyPatch) -> None:
    data = load_yaml(ROOT / "dvc.lock")["stages"]["check"]
    change("check", data, monkeypatch)
    assert parse_yaml(Path("dvc.lock").read_text(encoding="utf-8"), "") == {"schema": "2.0", "stages": {"check": data}}


PIPELINE = "stages: {a: {cmd: echo 1 > x, outs: [x]}, b: {cmd: cat x x > y, deps: [x], outs: [y]}}"


def test_the_command_builds_and_records_what_plain_dvc_does(tmp_path: Path) -> None:
    built = {}
    for command in ("dvc repro", "python -m tasks.repro"):
        (place := tmp_path / command.replace(" ", "_")).mkdir()
        (place / "dvc.yaml").write_text(PIPELINE)
        environment = os.environ | {"PYTHONPATH": str(ROOT), "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
        for words in ("dvc init --quiet --no-scm", command):
            subprocess.run(words.split(), cwd=place, env=environment, check=True, capture_output=True)
        built[command] = {name: (place / name).read_text() for name in ("dvc.lock", "x", "y")}
    assert built["dvc repro"] == built["python -m tasks.repro"]
    (place / "dvc.yaml").write_text(PIPELINE.replace("cat x x", "false"))
    failed = subprocess.run(words.split(), cwd=place, env=environment, check=False, capture_output=True, text=True)
    assert failed.returncode != 0
    assert "failed to reproduce 'b'" in failed.stderr


@pytest.mark.parametrize("text", ["", "stages: {}\n", TEXT + "datasets: []\n", TEXT.replace("size: 1", "size: &id001 1", 1)])
def test_a_record_of_another_form_is_left_to_dvc(text: str) -> None:
    assert record.is_plain(TEXT)
    assert not record.is_plain(text)


# --- mended


@pytest.mark.parametrize("first", range(4))
def test_a_record_that_breaks_off_anywhere_is_one_that_dvc_reads(first: int, capsys: pytest.CaptureFixture[str]) -> None:
    for end in [*range(first, 120), *range(120 + 29 * first, len(SHORT), 4 * 29)]:
        Path("dvc.lock").write_text(SHORT[:end], encoding="utf-8")
        mend.mend()
        told = re.findall("half of it was left by a killed DVC; (.) stages kept", capsys.readouterr().out)
        if not Path("dvc.lock").exists():
            assert told == ["0"]
            continue
        left = Path("dvc.lock").read_text(encoding="utf-8")
        assert SHORT.startswith(left)
        COMPILED_LOCKFILE_SCHEMA(parse_yaml(left, ""))
        assert told == ([str(len(re.findall(r"^  \S", left, re.MULTILINE)))] if left != SHORT[:end] else [])


def test_what_is_whole_stays(capsys: pytest.CaptureFixture[str]) -> None:
    mend.mend()
    Path("dvc.lock").write_text(TEXT, encoding="utf-8")
    mend.READERS.write_text('{"read": {}}')
    mend.mend()
    assert Path("dvc.lock").read_text(encoding="utf-8") == TEXT
    assert mend.READERS.read_text() == '{"read": {}}'
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("half", ["", '{"write": {"/a'])
def test_a_broken_list_of_readers_goes(half: str) -> None:
    mend.READERS.write_text(half)
    mend.mend()
    assert not mend.READERS.exists()
