"""Faults of the whole pipeline as its flow runs it: the next plain command finishes, and ends at the bytes of an undisturbed run.

Trainings, files and folders have theirs in test_interruption.py, test_bad_files.py and test_bad_places.py, downloads in test_fetch.py.
"""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest
from conftest import ROOT
from workspace import Workspace, copy, make, snapshot

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("faults"), pytest.mark.timeout(3600)]
MODELS = ("mlp", "vae", "vae_probe")
LENGTH = 25.0  # seconds that a run takes, more or less: moments lie anywhere in it
KILLS = int(os.environ.get("FAULTS_KILLS", "30"))  # of the flow; half as many of plain `dvc repro`
PER_ROUND = 10  # kills before a command is left in peace
FLOW = ("python", "-m", "flows.catalogue", "--workers", "2")
DVC = ("sh", "-c", "python -m tasks.mend && exec dvc repro")  # DVC's own way of keeping its record
COMMANDS = {"flow": FLOW, "dvc": DVC}
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
    return {path: content for path, content in files.items() if not path.startswith(("runs/", "spool/"))}  # they say when, and how often


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


def kill_dvc(dvc: int, moments: random.Random) -> str:
    """Kills DVC or its stage; half of the times DVC soon after a stage has ended, when it commits and writes its record."""
    with suppress(psutil.Error):
        process = psutil.Process(dvc)
        stages, after = process.children(), moments.random() < 0.5
        if stages and after:
            psutil.wait_procs(stages, timeout=60)
            time.sleep(moments.uniform(0, 0.5))
        victim = moments.choice([process, *stages]) if not after else process
        kind = "a stage" if victim in stages else "DVC after a stage" if stages and after else "DVC"
        victim.kill()
        return kind
    return ""


KILLED: dict[str, tuple[Callable[[int, random.Random], str], int]] = {"flow": (kill_one, KILLS), "dvc": (kill_dvc, KILLS // 2)}


def all_gone(workspace: Workspace) -> bool:
    for _ in range(300):
        if not workspace.processes("tasks.") and not workspace.processes("generative.stages"):
            return True
        time.sleep(0.1)
    return False


def disturb(workspace: Workspace, what: str, moments: random.Random, kills: int, expected: dict[str, bytes]) -> Counter[str]:
    """Starts the command again and again until so many of its processes were killed; from nothing where it came through all the same."""
    killed: Counter[str] = Counter()
    while killed.total() < kills:
        process, wait = workspace.start(*COMMANDS[what]), LENGTH
        while process.poll() is None and killed.total() < kills:
            time.sleep(moments.uniform(0.1, wait))
            wait = LENGTH / 4
            if process.poll() is None and (kind := KILLED[what][0](process.pid, moments)):
                killed[kind] += 1
                print(f"{kind} was killed", flush=True)
        process.communicate(timeout=900)
        assert all_gone(workspace), "something outlived the command"
        if process.returncode == 0:
            assert outputs(workspace) == expected
            forget(workspace)
    return killed


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="a killed flow ends its children by a signal of Linux")
@pytest.mark.parametrize("what", COMMANDS)
def test_kills_at_random_moments(own: Workspace, undisturbed: Workspace, what: str) -> None:
    expected, seed, began = outputs(undisturbed), random.randrange(2**32), time.monotonic()
    moments, killed = random.Random(seed), Counter()
    print(f"seed {seed}")  # shown where the test fails, or with -s
    while (left := KILLED[what][1] - killed.total()) > 0:
        forget(own)
        killed += disturb(own, what, moments, min(PER_ROUND, left), expected)
        own.run(*COMMANDS[what])
        print(f"{killed.total()} kills, {time.monotonic() - began:.0f} s: {dict(killed)}", flush=True)
        assert outputs(own) == expected


@pytest.mark.parametrize("command", [FLOW, ("dvc", "repro")], ids=COMMANDS)
def test_who_is_asked_to_end_does(own: Workspace, undisturbed: Workspace, command: tuple[str, ...]) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    forget(own)
    for wait in (random.Random(seed).uniform(0.5, LENGTH) for _ in range(3)):
        process = own.start(*command)
        with suppress(subprocess.TimeoutExpired):
            process.wait(wait)
        process.terminate()
        printed, _ = process.communicate(timeout=30)
        assert all_gone(own)
        assert process.returncode in (0, 130 if command is FLOW else -signal.SIGTERM), printed
        assert "Traceback" not in printed
    own.run(*command)
    assert outputs(own) == outputs(undisturbed)


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


def truncated(workspace: Workspace) -> None:
    path = workspace.folder / WEIGHTS
    path.chmod(0o600)
    path.write_bytes(path.read_bytes()[:-100])


def half_a_checkpoint(workspace: Workspace) -> None:
    place = workspace.folder / "data/work/mlp"
    place.mkdir(parents=True, exist_ok=True)
    (place / "checkpoint.pt").write_bytes(workspace.read(WEIGHTS)[:-100])
    shutil.rmtree((workspace.folder / WEIGHTS).parent)
    shutil.rmtree(workspace.folder / ".dvc/cache/runs")  # or DVC would have the weights from there


def half_a_list(workspace: Workspace) -> None:
    """What a DVC leaves that is killed while it writes who reads and writes what; then there must be something to do."""
    (workspace.folder / ".dvc/tmp/rwlock").write_text("")
    shutil.rmtree((workspace.folder / WEIGHTS).parent)


def half_a_record(workspace: Workspace) -> None:
    """What a DVC leaves that is killed while it writes dvc.lock."""
    path = workspace.folder / "dvc.lock"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
@pytest.mark.parametrize("damage", [flipped, truncated, half_a_checkpoint, half_a_list, half_a_record])
def test_what_is_damaged_is_found_and_made_again(
    own: Workspace, undisturbed: Workspace, damage: Callable[[Workspace], None], command: tuple[str, ...]
) -> None:
    damage(own)
    printed = own.run(*command)
    assert "Traceback" not in printed
    assert outputs(own) == outputs(undisturbed)


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_without_mlflows_server_all_is_built(own: Workspace, undisturbed: Workspace, command: tuple[str, ...]) -> None:
    forget(own)
    printed = own.run("env", "-u", "GENERATIVE_TRACKING", "MLFLOW_TRACKING_URI=http://127.0.0.1:9", *command)
    assert "Traceback" not in printed
    assert outputs(own) == outputs(undisturbed)


@contextmanager
def disk(folder: Path, options: str) -> Iterator[None]:
    """A file system of its own in the memory."""
    folder.mkdir(parents=True)
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", folder], capture_output=True, text=True, check=False)
    if mounted.returncode:
        pytest.skip(f"needs the right to mount: {mounted.stderr.strip()}; test_bad_places.py has a limit to the size of a file instead")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.mark.parametrize("free", [200_000, 600_000, 1_000_000])
@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_a_full_disk_is_named_and_harms_nothing(undisturbed: Workspace, tmp_path: Path, command: tuple[str, ...], free: int) -> None:
    with disk(tmp_path / "disk", "size=64m"):
        own, ballast = copy(undisturbed, tmp_path / "disk/own"), tmp_path / "disk/ballast"
        forget(own)
        ballast.write_bytes(bytes(shutil.disk_usage(own.folder).free - free))
        printed = own.run(*command, code=None)
        print(printed)
        assert re.search("disk is full|is the disk full|No space left on device|disk I/O error", printed), printed
        assert "Traceback" not in printed
        assert all_gone(own)
        ballast.unlink()
        own.run(*command)
        assert outputs(own) == outputs(undisturbed)


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_a_folder_that_is_read_only_is_named(own: Workspace, undisturbed: Workspace, command: tuple[str, ...]) -> None:
    shutil.rmtree(own.folder / "data")
    (own.folder / "dvc.lock").unlink()
    with disk(own.folder / "data", "ro"):
        printed = own.run(*command, code=None)
    print(printed)
    assert "check: data/checked.txt.partial: the file system is read-only; the folder it is in must be writable" in printed
    assert "Traceback" not in printed
    own.run(*command)
    assert outputs(own) == outputs(undisturbed)


def test_of_two_flows_at_once_one_waits_or_says_who_is_at_work(own: Workspace, undisturbed: Workspace) -> None:
    forget(own)
    flows = [own.start(*FLOW) for _ in range(2)]
    printed = [flow.communicate(timeout=900)[0] for flow in flows]
    codes = [flow.returncode for flow in flows]
    assert 0 in codes
    for mine, code, other in zip(printed, codes, reversed(flows), strict=True):
        assert code == 0 or f"catalogue: .prefect/flow: in use by process {other.pid}; wait for it or stop it" in mine
    assert outputs(own) == outputs(undisturbed)
