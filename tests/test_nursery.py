"""Stages as forks of one process that has imported torch: each is a process of its own, with today's code and DVC's environment."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest
from conftest import ROOT

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux" or Path("/dev/nvidiactl").exists(), reason="torch is not shared"),
    pytest.mark.xdist_group("nursery"),
]
PIPELINE = """stages:
  one: {cmd: exec python -m generative.stages.say one, always_changed: true}
  two: {cmd: exec python -m generative.stages.say two, always_changed: true}
  shell: {cmd: echo in a shell | tr a-z A-Z, always_changed: true}
"""
PARAMS = "data: {}\nencodings: {}\nmodels:\n  one: {threads: 1}\n  two: {threads: 2}\n"
SAY = """import os, sys
if __name__ == "__main__":
    facts = [sys.argv[1], os.environ["DVC_STAGE"], "torch" in sys.modules, os.getpgrp() == os.getpgid(os.getppid())]
    print("says", *facts, len(os.listdir("/proc/self/fd")), flush=True)
"""
LOCK = """import multiprocessing, time
cycle = [multiprocessing.get_context("spawn").Lock()]
cycle.append(cycle)
print("locked", flush=True)
time.sleep(1)  # so that what Python's resource tracker has to say is still heard
"""
SCRIPT = """import json, os, signal
from pathlib import Path
from tasks.dvc import StageFailedError, repro, stop_all
from tasks.fork import nursery
say, told = Path("src/generative/stages/say.py"), []

def run(stage):
    lines = []
    try:
        told.append([repro(stage, lines.append), *lines])
    except StageFailedError as error:
        told.append(["failed", str(error)])

for stage in ("one", "two", "shell"):
    run(stage)
with Path("src/generative/files.py").open("a") as file:  # a file that the nursery has read too
    file.write("WORD = 'new code'\\n")
ends = ["import os; os.kill(os.getpid(), 11)", "import sys; sys.exit('refused')", "1 / 0", "print('again')"]
for code in ("from generative.files import WORD; print(WORD)", *ends):
    say.write_text(code)
    run("one")
say.write_text(Path("lock.py").read_text())
run("one")
say.write_text("print('again')")
nursery._process.kill()
nursery._process.wait()
run("one")
stop_all()
print(json.dumps(told))
"""


def made(folder: Path) -> dict[str, str]:
    """Lays out a catalogue of these stages in the folder; returns the environment to work in."""
    shutil.copytree(ROOT / "src/generative", folder / "src/generative", ignore=shutil.ignore_patterns("__pycache__"))
    for name, text in {"dvc.yaml": PIPELINE, "params.yaml": PARAMS, "src/generative/stages/say.py": SAY, "lock.py": LOCK}.items():
        (folder / name).write_text(text)
    for command in (["git", "init", "-q"], [str(Path(sys.executable).parent / "dvc"), "init", "-q"]):
        subprocess.run(command, cwd=folder, check=True)
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return os.environ | {"PYTHONPATH": f"{folder / 'src'}:{ROOT}", "PYTHONDONTWRITEBYTECODE": "1", "PATH": path}


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> list[list[Any]]:
    """What each stage of the script came to, and what it said."""
    folder = tmp_path_factory.mktemp("nursery")
    environment = made(folder)
    command = [sys.executable, "-c", SCRIPT]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_stage_finds_torch_imported_and_nothing_of_dvcs(told: list[list[Any]]) -> None:
    assert told[0] == ["ran", "says one one True True 4"]  # its three streams and the listing itself


def test_what_computes_on_more_threads_or_is_no_stage_of_ours_is_started_by_dvc(told: list[list[Any]]) -> None:
    assert told[1][1].startswith("says two two False True")
    assert told[2] == ["ran", "IN A SHELL"]


def test_code_is_read_anew(told: list[list[Any]]) -> None:
    assert told[3] == ["ran", "new code"]


def test_each_end_is_told_and_touches_no_other(told: list[list[Any]]) -> None:
    exited = "failed to run: exec python -m generative.stages.say one, exited with -11"
    assert told[4:8] == [
        ["failed", f"failed to reproduce 'one': {exited}"],
        ["failed", "refused"],
        ["failed", "ZeroDivisionError: division by zero"],
        ["ran", "again"],
    ]


def test_semaphores_are_given_back_before_the_end(told: list[list[Any]]) -> None:
    assert told[8] == ["ran", "locked"]  # and no warning


def test_a_nursery_that_was_killed_is_replaced(told: list[list[Any]]) -> None:
    assert told[9] == ["ran", "again"]


# --- the same by `make repro`


def repro(folder: Path, environment: dict[str, str], code: str, *stages: str) -> subprocess.Popen[str]:
    """`tasks.repro` in a group of its own, as a shell starts it, with this code as that of the stages."""
    (folder / "src/generative/stages/say.py").write_text(code)
    command, pipe = [sys.executable, "-m", "tasks.repro", "--single-item", *stages], subprocess.PIPE
    return subprocess.Popen(command, cwd=folder, env=environment, stdout=pipe, stderr=pipe, text=True, start_new_session=True)


def test_the_stages_of_make_repro_are_forks_too(tmp_path: Path) -> None:
    environment = made(tmp_path)
    process = repro(tmp_path, environment, SAY, "one", "two", "shell")
    output, complaint = process.communicate(timeout=100)
    assert process.returncode == 0, complaint
    said = [line for line in output.splitlines() if line.startswith(("says", "IN"))]
    assert said[0].startswith("says one one True True")
    assert said[1].startswith("says two two False True")
    assert said[2] == "IN A SHELL"
    for code, why in (("import sys; sys.exit('refused')", "refused"), ("import os; os.kill(os.getpid(), 11)", "exited with -11")):
        process = repro(tmp_path, environment, code, "one")
        _, complaint = process.communicate(timeout=100)
        assert process.returncode == 255
        assert why in complaint
        assert "failed to reproduce 'one'" in complaint


PATIENT = """import os, time
try:
    print("here", os.getpid(), flush=True)
    time.sleep(60)
except KeyboardInterrupt:
    time.sleep(1)
    print("saved", flush=True)
    raise
"""


@pytest.mark.parametrize("how", ["Ctrl-C", "terminated", "DVC killed"])
def test_make_repro_ends_with_its_stage(tmp_path: Path, how: str) -> None:
    process = repro(tmp_path, made(tmp_path), PATIENT, "one")
    assert process.stdout
    stage = psutil.Process(next(int(line.split()[1]) for line in process.stdout if line.startswith("here")))
    dvc = next(child for child in psutil.Process(process.pid).children() if child != stage)
    {"Ctrl-C": lambda: os.killpg(process.pid, signal.SIGINT), "terminated": process.terminate, "DVC killed": dvc.kill}[how]()
    output, complaint = process.communicate(timeout=30)
    assert process.returncode == {"Ctrl-C": 255, "terminated": -signal.SIGTERM, "DVC killed": 128 + signal.SIGKILL}[how], complaint
    assert ("saved" in output) == (how == "Ctrl-C")
    assert not psutil.wait_procs([dvc, stage], timeout=10)[1], "they end with it, though not in the very moment"
