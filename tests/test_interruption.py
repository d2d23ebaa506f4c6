"""Training that is killed at any moment: plain `dvc repro` goes on, and ends at the very bytes of an undisturbed run."""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from workspace import Workspace, copy, make

pytestmark = [pytest.mark.xdist_group("interruption"), pytest.mark.timeout(600)]
TARGET = "train@autoencoder"
STEPS, EVERY = 300, 10
RESULTS = ("data/models/autoencoder/weights.safetensors", "data/models/autoencoder/model.json", "data/metrics/autoencoder/curve.csv")
Kill = Callable[[subprocess.Popen[str], psutil.Process], None]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A workspace in which all is done but the training. Tests must not write into it."""
    workspace = make(tmp_path_factory.mktemp("interruption") / "prepared", ["autoencoder"])
    workspace.change("models", "autoencoder", steps=STEPS, log_every=EVERY, checkpoint_every=EVERY)
    workspace.dvc("repro", "preprocess@glyphs")
    return workspace


@pytest.fixture(scope="module")
def undisturbed(prepared: Workspace, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    workspace = copy(prepared, tmp_path_factory.mktemp("interruption") / "undisturbed")
    workspace.dvc("repro", TARGET)
    return results(workspace)


@pytest.fixture
def own(prepared: Workspace, tmp_path: Path) -> Workspace:
    return copy(prepared, tmp_path / "own")


def results(workspace: Workspace) -> dict[str, bytes]:
    return {path: workspace.read(path) for path in RESULTS}


def trainers(workspace: Workspace) -> list[psutil.Process]:
    return workspace.processes("generative.stages.train")


def wait_for(condition: Callable[[], object], seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def checkpoint(workspace: Workspace) -> Path:
    return workspace.folder / "data/work/autoencoder/checkpoint.pt"


def stage_killed(dvc: subprocess.Popen[str], trainer: psutil.Process) -> None:
    trainer.kill()


def dvc_killed(dvc: subprocess.Popen[str], trainer: psutil.Process) -> None:
    dvc.kill()


def stage_terminated(dvc: subprocess.Popen[str], trainer: psutil.Process) -> None:
    trainer.terminate()


def dvc_terminated(dvc: subprocess.Popen[str], trainer: psutil.Process) -> None:
    dvc.terminate()


def stopped_by_hand(dvc: subprocess.Popen[str], trainer: psutil.Process) -> None:
    os.killpg(dvc.pid, signal.SIGINT)  # what Ctrl-C sends


def interrupt(workspace: Workspace, kill: Kill, after: float) -> str:
    """Starts the training, kills after its first new checkpoint and `after` seconds, and returns what was printed until then."""
    before = checkpoint(workspace).stat().st_mtime_ns if checkpoint(workspace).exists() else 0
    dvc = workspace.start("dvc", "repro", TARGET)
    is_new = lambda: checkpoint(workspace).exists() and checkpoint(workspace).stat().st_mtime_ns > before  # noqa: E731
    wait_for(lambda: is_new() or dvc.poll() is not None, 120, "no checkpoint was written")
    time.sleep(after)
    found = trainers(workspace)
    assert len(found) == 1, "the training ended before it could be killed, or there were two"
    kill(dvc, found[0])
    output, _ = dvc.communicate(timeout=60)
    assert dvc.returncode != 0, output
    assert not (workspace.folder / RESULTS[0]).exists()
    return output


@pytest.mark.parametrize(
    "kill",
    [stage_killed, dvc_killed, *(pytest.param(k, marks=pytest.mark.slow) for k in (stage_terminated, dvc_terminated, stopped_by_hand))],
)
def test_an_interrupted_training_goes_on_to_the_same_bytes(own: Workspace, undisturbed: dict[str, bytes], kill: Kill) -> None:
    output = interrupt(own, kill, after=random.uniform(0, 0.5))
    assert "Traceback" not in output
    finished = own.dvc("repro", TARGET)  # at once: it must wait for a trainer that is still ending
    steps = re.search(r"autoencoder: resumes at step (\d+)", finished)
    assert steps, finished
    assert 0 < int(steps[1]) < STEPS
    assert int(steps[1]) % EVERY == 0
    assert results(own) == undisturbed
    assert not checkpoint(own).exists()


def test_a_killed_dvc_leaves_no_trainer_behind(own: Workspace) -> None:
    interrupt(own, dvc_killed, after=0)
    wait_for(lambda: not trainers(own), 10, "the trainer goes on without DVC")


def test_a_stage_whose_dvc_died_before_it_could_ask_for_a_signal_does_not_start(own: Workspace) -> None:
    output = own.run("sh", "-c", "(sleep 0.5; DVC_STAGE=download@glyphs exec python -m generative.stages.download glyphs) &")
    assert output == "download glyphs: DVC is gone\n"


@pytest.mark.slow
def test_a_second_trainer_does_not_start_beside_the_first(own: Workspace) -> None:
    first = own.start("python", "-m", "generative.stages.train", "autoencoder")
    wait_for(checkpoint(own).exists, 120, "no checkpoint was written")
    first.send_signal(signal.SIGSTOP)
    try:
        refused = own.run("python", "-m", "generative.stages.train", "autoencoder", code=1)
    finally:
        first.kill()
        first.communicate()
    assert refused == f"train autoencoder: data/work/autoencoder: in use by process {first.pid}; wait for it or stop it\n"


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_kills_at_random_moments(own: Workspace, undisturbed: dict[str, bytes]) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")  # shown where the test fails
    moments = random.Random(seed)
    kills = 0
    while kills < 10:
        dvc = own.start("dvc", "repro", "--force", "--single-item", TARGET)
        time.sleep(moments.uniform(0.3, 6))
        if dvc.poll() is None:
            victims = trainers(own) if moments.random() < 0.5 else []
            for victim in victims or [psutil.Process(dvc.pid)]:
                victim.kill()
            kills += 1
        dvc.communicate(timeout=60)
        wait_for(lambda: not trainers(own), 20, "the trainer goes on without DVC")
        assert dvc.returncode != 0 or results(own) == undisturbed
    own.dvc("repro", TARGET)
    assert results(own) == undisturbed
