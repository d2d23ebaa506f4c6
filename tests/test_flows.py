"""Real flows: they do what `dvc repro` would, side by side, and leave nothing behind."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from flows.command import LOCK
from generative import files
from generative.errors import UsageError
from tasks.dvc import ask

ROOT = Path(__file__).parent.parent

PARAMS = """data:
  dots: {{size: 1}}
models:
  a: {{data: dots, size: 1, sleep: {sleep}}}
  b: {{data: dots, size: 0, sleep: 0}}
"""
PIPELINE = """stages:
  check:
    cmd: echo valid > checked
    deps: [params.yaml]
    outs: [checked]
  download:
    foreach: ${data}
    do:
      cmd: wc -w < recipe > raw_${key}
      deps: [checked, recipe]
      outs: ["raw_${key}"]
  train:
    foreach: ${models}
    do:
      cmd: python train.py ${key} ${item.size} ${item.sleep}
      deps: [checked, "raw_${item.data}"]
      params: ["models.${key}"]
      outs: ["weights_${key}"]
  sample:
    foreach: ${models}
    do:
      cmd: cp weights_${key} sample_${key}
      deps: [checked, "weights_${key}"]
      outs: ["sample_${key}"]
"""
TRAIN = """import os, pathlib, sys, time
name, size, sleep = sys.argv[1:]
pathlib.Path(f"pid_{name}").write_text(str(os.getpid()))
print(f"training {name} in {os.environ.get('GENERATIVE_EXECUTION')} with {os.environ['OMP_NUM_THREADS']} thread", flush=True)
time.sleep(float(sleep))
if size == "0":
    sys.exit("train b: size: expected 1 or more, got 0")
pathlib.Path(f"weights_{name}").write_text(size)
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with six small stages, of which train@b fails."""
    folder = tmp_path_factory.mktemp("project")
    contents = {"params.yaml": PARAMS.format(sleep=0), "dvc.yaml": PIPELINE, "train.py": TRAIN, "recipe": "two words"}
    for name, text in contents.items():
        (folder / name).write_text(text)
    for command in (["git", "init", "-q"], [str(Path(sys.executable).parent / "dvc"), "init", "-q"]):
        subprocess.run(command, cwd=folder, check=True)
    return folder


def start(project: Path, *arguments: str, server: str = "") -> subprocess.Popen[str]:
    keep = {key: value for key, value in os.environ.items() if not key.startswith(("PREFECT", "OMP_", "GENERATIVE_"))}
    environment = {**keep, "PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}  # `python` is the one that runs the flow all the same
    if server:
        environment["PREFECT_API_URL"] = server
    pipe = subprocess.PIPE
    return subprocess.Popen([sys.executable, *arguments], cwd=project, env=environment, text=True, stdout=pipe, stderr=pipe)


def flow(project: Path, *arguments: str, server: str = "") -> tuple[int, str, str]:
    process = start(project, "-m", *arguments, server=server)
    out, err = process.communicate(timeout=200)
    assert "Traceback" not in out + err
    return process.returncode, out, err


def gone(pid: int) -> bool:
    """Within ten seconds."""
    for _ in range(100):
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.1)
    return False


def training(project: Path) -> int:
    """The process id of the trainer of `a`, once there is one."""
    file = project / "pid_a"
    for _ in range(900):
        if file.exists() and file.read_text():
            return int(file.read_text())
        time.sleep(0.1)
    raise AssertionError("no training began")


def test_a_faulty_pipeline_is_refused_in_dvcs_words(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    (project / "bad").mkdir()
    (project / "bad" / "dvc.yaml").write_text("stages: {a: {command: x}}")
    try:
        with pytest.raises(UsageError, match=r"dvc dag --dot: .*extra keys not allowed, in stages -> a -> command, line 1"):
            ask("dag", "--dot")
    finally:
        (project / "bad" / "dvc.yaml").unlink()


@pytest.mark.xdist_group("flows")
def test_a_flow_brings_up_to_date_what_it_can(project: Path) -> None:
    code, out, err = flow(project, "flows.catalogue", "--workers", "2")
    assert code == 1
    for stage, result in {"check": "ran", "train@a": "ran", "sample@a": "ran", "train@b": "failed", "sample@b": "blocked"}.items():
        assert re.search(rf"^{stage} +{result} +[\d.]+", out, re.MULTILINE), (stage, out)
    assert err == "catalogue: train@b failed: train b: size: expected 1 or more, got 0; not started: sample@b\n"
    a, b = (re.search(rf"training {name} in (\S+) with 1 thread", out) for name in "ab")
    assert a and b and a[1] == b[1]  # one execution: the runs of both are grouped
    assert (project / "sample_a").read_text() == "1"

    (project / "recipe").write_text("other words")  # the stage below is looked at, and finds its input as it was
    code, out, err = flow(project, "flows.model", "a")
    assert (code, err) == (0, "")
    assert re.search(r"^download@dots +ran", out, re.MULTILINE)
    assert re.search(r"^train@a +skipped", out, re.MULTILINE)
    assert "train@b" not in out

    began = time.monotonic()
    code, out, err = flow(project, "flows.model", "a")
    assert (code, err) == (0, "")
    assert re.fullmatch(r"4 up to date; [\d.]+ s in all\n", out)  # Prefect was not asked
    assert time.monotonic() - began < 7


@pytest.mark.xdist_group("flows")
def test_a_refused_catalogue_is_told_without_prefect(project: Path) -> None:
    pipeline = (project / "dvc.yaml").read_text()
    (project / "dvc.yaml").write_text(pipeline.replace("cmd: echo valid > checked", "cmd: echo params.yaml is bad && exit 1"))
    try:
        code, out, err = flow(project, "flows.catalogue")
    finally:
        (project / "dvc.yaml").write_text(pipeline)
    assert (code, err) == (1, "catalogue: check failed: params.yaml is bad\n")
    assert "Prefect" not in out
    assert "up to date" not in out


@pytest.mark.xdist_group("flows")
def test_an_interrupted_flow_leaves_nothing_behind(project: Path) -> None:
    (project / "params.yaml").write_text(PARAMS.format(sleep=100))
    (project / "pid_a").unlink(missing_ok=True)
    process = start(project, "-m", "flows.model", "a")
    trainer = training(project)
    below = [child.pid for child in psutil.Process(process.pid).children(recursive=True)]
    assert trainer in below
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (130, "model: stopped\n"), out
    assert all(gone(pid) for pid in below)


@pytest.mark.xdist_group("flows")
@pytest.mark.parametrize(
    "command", ["dvc.ask('repro', 'train@a')", "dvc.repro('check', print); dvc.repro('download@dots', print); dvc.repro('train@a', print)"]
)
def test_dvc_and_its_stage_end_with_a_killed_parent(project: Path, command: str) -> None:
    (project / "params.yaml").write_text(PARAMS.format(sleep=100))
    (project / "pid_a").unlink(missing_ok=True)
    process = start(project, "-c", f"from tasks import dvc; {command}")
    trainer = training(project)
    below = [child.pid for child in psutil.Process(process.pid).children(recursive=True)]
    assert trainer in below
    process.kill()
    process.communicate()
    assert all(gone(pid) for pid in below)


@pytest.mark.parametrize("name", ["catalogue", "model"])
def test_help_is_quick_and_a_typing_error_is_named(project: Path, name: str) -> None:
    began = time.monotonic()
    code, out, _ = flow(project, f"flows.{name}", "--help")
    assert code == 0
    assert "--workers" in out
    assert time.monotonic() - began < 1.5  # 0.1 s on an idle machine; Prefect's import alone takes longer
    code, _, err = flow(project, f"flows.{name}", "dats")
    assert code == 1
    assert err.startswith(f"{name}: params.yaml: dats: no such entry in ")
    assert flow(project, "flows.catalogue", "--workers", "0")[0] == 2


def test_a_server_that_is_away_is_named(project: Path) -> None:
    code, _, err = flow(project, "flows.model", "a", server="http://127.0.0.1:9/api")
    assert (code, err) == (1, "model: PREFECT_API_URL: expected a Prefect server at http://127.0.0.1:9/api, none answers\n")


SECOND = """import sys
from generative import files
from generative.errors import UsageError
from tasks.dvc import ask
from flows.command import main
files.PATIENCE, sys.argv[1:] = 0, ["a"]
sys.exit(main("model", ""))
"""


def test_a_second_flow_in_the_folder_is_refused(project: Path) -> None:
    with files.sole_owner(project / LOCK):
        process = start(project, "-c", SECOND)
        _, err = process.communicate()
    assert (process.returncode, err) == (1, f"model: {LOCK}: in use by process {os.getpid()}; wait for it or stop it\n")
