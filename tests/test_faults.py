"""Faults of the whole pipeline as its flow runs it: the next plain command finishes, and ends at the bytes of an undisturbed run.

Trainings, files and folders have theirs in test_interruption.py and test_bad_files.py, downloads in test_fetch.py.
"""

from __future__ import annotations

import os
import random
import shutil
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from conftest import ROOT
from workspace import Workspace, copy, make, snapshot

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("faults"), pytest.mark.timeout(3600)]
MODELS = ("mlp", "vae", "vae_probe")
LENGTH = 25.0  # seconds that the flow takes, more or less: moments lie anywhere in it
KILLS = int(os.environ.get("FAULTS_KILLS", "30"))
PER_ROUND = 10  # kills before a command is left in peace
FLOW = ("python", "-m", "flows.catalogue", "--workers", "2")
COMMANDS = (FLOW, ("dvc", "repro"))
OFTEN = ("a stage", "a forked DVC")  # they live for seconds only
WEIGHTS = "data/models/mlp/weights.safetensors"


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A workspace in which everything is built. Tests must not write into it."""
    workspace = make(tmp_path_factory.mktemp("faults") / "undisturbed", MODELS)
    for room in ("flows", "tasks"):
        shutil.copytree(ROOT / room, workspace.folder / room, ignore=shutil.ignore_patterns("__pycache__"))
    workspace.run(*FLOW)
    return workspace


@pytest.fixture
def own(undisturbed: Workspace, tmp_path: Path) -> Workspace:
    return copy(undisturbed, tmp_path / "own")


def outputs(workspace: Workspace) -> dict[str, bytes]:
    files = snapshot(workspace.folder / "data")
    return {path: content for path, content in files.items() if not path.startswith("runs/")}  # the journal says when, and how often


def forget(workspace: Workspace) -> None:
    """Nothing is built any more."""
    for folder in ("data", ".dvc/cache", ".dvc/tmp"):
        shutil.rmtree(workspace.folder / folder, ignore_errors=True)
    (workspace.folder / "dvc.lock").unlink(missing_ok=True)


def below(flow: int) -> dict[str, list[psutil.Process]]:
    """The processes of a flow by what they are."""
    found: dict[str, list[psutil.Process]] = {"the flow": [psutil.Process(flow)]}
    for process in found["the flow"][0].children(recursive=True):
        with suppress(psutil.Error):
            found.setdefault(_kind(process, flow), []).append(process)
    return found


def _kind(process: psutil.Process, flow: int) -> str:
    words = process.cmdline()
    if "tasks.nursery" not in words:
        return "the Prefect server" if "flows.server" in words else "a DVC that answers the flow"
    parent = process.parent()
    above = parent.parent() if parent else None
    if parent and parent.pid == flow:
        return "the nursery"
    return "a forked DVC" if above and above.pid == flow else "a stage"


def kill_one(flow: int, moments: random.Random) -> str:
    """Kills a process of the flow; returns what it was, "" where there was none any more."""
    with suppress(psutil.Error):
        found = below(flow)
        kinds = sorted(found)
        kind = moments.choices(kinds, [3 if kind in OFTEN else 1 for kind in kinds])[0]
        moments.choice(found[kind]).kill()
        return kind
    return ""


def all_gone(workspace: Workspace) -> bool:
    for _ in range(300):
        if not workspace.processes("tasks.") and not workspace.processes("generative.stages"):
            return True
        time.sleep(0.1)
    return False


def disturb(workspace: Workspace, moments: random.Random, kills: int, expected: dict[str, bytes]) -> Counter[str]:
    """Starts the flow again and again until so many of its processes were killed; from nothing where it came through all the same."""
    killed: Counter[str] = Counter()
    while killed.total() < kills:
        flow, wait = workspace.start(*FLOW), LENGTH
        while flow.poll() is None and killed.total() < kills:
            time.sleep(moments.uniform(0.1, wait))
            wait = LENGTH / 4
            if flow.poll() is None and (kind := kill_one(flow.pid, moments)):
                killed[kind] += 1
        flow.communicate(timeout=240)
        assert all_gone(workspace), "something outlived the flow"
        if flow.returncode == 0:
            assert outputs(workspace) == expected
            forget(workspace)
    return killed


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="a killed flow ends its children by a signal of Linux")
def test_kills_at_random_moments(own: Workspace, undisturbed: Workspace) -> None:
    expected, seed, began = outputs(undisturbed), random.randrange(2**32), time.monotonic()
    moments, killed = random.Random(seed), Counter()
    print(f"seed {seed}")  # shown where the test fails, or with -s
    while killed.total() < KILLS:
        forget(own)
        killed += disturb(own, moments, min(PER_ROUND, KILLS - killed.total()), expected)
        own.run(*FLOW)  # it mends what `dvc repro` refuses
        print(f"{killed.total()} kills, {time.monotonic() - began:.0f} s: {dict(killed)}", flush=True)
        assert outputs(own) == expected


def flipped(workspace: Workspace) -> None:
    """A byte of the weights goes bad in DVC's cache, the output is lost, and DVC is told not to trust its cache (docs/reliability.md)."""
    content, cache = workspace.read(WEIGHTS), workspace.folder / ".dvc/cache/files"
    places = [path for path in cache.rglob("*") if path.is_file() and path.read_bytes() == content]
    assert len(places) == 1
    places[0].chmod(0o600)
    places[0].write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    places[0].chmod(0o444)
    shutil.rmtree((workspace.folder / WEIGHTS).parent)
    workspace.run("sh", "-c", "find .dvc/cache/files -type f -exec chmod u+w {} +")


def half_written(workspace: Workspace) -> None:
    """What a DVC leaves that is killed while it writes who reads and writes what; then there must be something to do."""
    (workspace.folder / ".dvc/tmp/rwlock").write_text("")
    shutil.rmtree((workspace.folder / WEIGHTS).parent)


def truncated(workspace: Workspace) -> None:
    path = workspace.folder / WEIGHTS
    path.chmod(0o600)
    path.write_bytes(path.read_bytes()[:-100])


@pytest.mark.parametrize("command", COMMANDS, ids=["flow", "dvc"])
@pytest.mark.parametrize("damage", [flipped, truncated])
def test_damaged_bytes_are_found_and_made_again(
    own: Workspace, undisturbed: Workspace, damage: Callable[[Workspace], None], command: tuple[str, ...]
) -> None:
    damage(own)
    own.run(*command)
    assert outputs(own) == outputs(undisturbed)


def test_a_flow_mends_what_no_dvc_would_start_with(own: Workspace, undisturbed: Workspace) -> None:
    half_written(own)
    own.run(*FLOW)
    assert outputs(own) == outputs(undisturbed)


def test_of_two_flows_at_once_one_waits_or_says_who_is_at_work(own: Workspace, undisturbed: Workspace) -> None:
    forget(own)
    flows = [own.start(*FLOW) for _ in range(2)]
    printed = [flow.communicate(timeout=240)[0] for flow in flows]
    codes = [flow.returncode for flow in flows]
    assert 0 in codes
    for mine, code, other in zip(printed, codes, reversed(flows), strict=True):
        assert code == 0 or f"catalogue: .prefect/flow: in use by process {other.pid}; wait for it or stop it" in mine
    assert outputs(own) == outputs(undisturbed)
