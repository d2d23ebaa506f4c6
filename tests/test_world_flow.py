"""The flow of world models: what it fans out is what the stages alone would have made, and a lost worker costs its part."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import chdir
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT
from hired import Hiring
from workspace import Workspace, copy, make

from flows import command
from generative.stages.download import download
from generative.stages.train import train
from generative.training.workers import Setup, Workers

ENTRY, DATA = "world_controller", "car_rollouts"
RESULTS = (f"data/models/{ENTRY}/weights.safetensors", f"data/metrics/{ENTRY}/curve.csv")


def two(setup: Setup) -> Workers:
    return Workers(setup, 2)


class Threads:
    """Takes Prefect's place: a task is a thread."""

    def __init__(self) -> None:
        self.pool = ThreadPoolExecutor(4)
        self.titles: list[str] = []

    def submit(self, name: str, title: str, number: int) -> Future[Any]:
        from tasks import chunk

        self.titles.append(f"{name} {title} chunk {number}")
        return self.pool.submit(chunk.chunk.fn, name, title, number)


@pytest.fixture
def own(built: Path, tmp_path: Path) -> Iterator[Path]:
    """A copy of the tiny catalogue's world, to be written into."""
    shutil.copy(built / "params.yaml", tmp_path)
    for part in (f"raw/{DATA}", "processed/car_memory", f"models/{ENTRY}", f"metrics/{ENTRY}"):
        shutil.copytree(built / "data" / part, tmp_path / "data" / part)
    with chdir(tmp_path):
        yield tmp_path


@pytest.fixture
def threads(monkeypatch: pytest.MonkeyPatch) -> Threads:
    from flows import world_models

    monkeypatch.setattr(world_models, "chunk", fake := Threads())
    return fake


@pytest.mark.xdist_group("built")
def test_what_is_evolved_ahead_is_what_the_stage_would_have_made(own: Path, threads: Threads) -> None:
    from flows.world_models import evolve_ahead

    undisturbed = [(own / path).read_bytes() for path in RESULTS]
    shutil.rmtree(own / "data/models")
    shutil.rmtree(own / "data/metrics")
    evolve_ahead(ENTRY, two)
    assert not (own / "data/models").exists()  # to write it down is the stage's part
    rounds = {title.split()[2] for title in threads.titles}
    assert rounds == {str(number) for number in range(1, 6)}  # four generations, and the held-out figure of the last
    train(ENTRY)
    assert [(own / path).read_bytes() for path in RESULTS] == undisturbed
    assert len({title.split()[2] for title in threads.titles}) == 5  # the stage had nothing left to try


@pytest.mark.xdist_group("built")
def test_what_is_collected_ahead_is_what_the_stage_would_have_made(own: Path, threads: Threads, monkeypatch: pytest.MonkeyPatch) -> None:
    from flows.world_models import collect_ahead
    from generative.data.rollouts import car

    undisturbed = {path.name: path.read_bytes() for path in sorted((own / "data/raw" / DATA).iterdir())}
    shutil.rmtree(own / "data/raw")
    collect_ahead(DATA, two)
    assert len(threads.titles) == 4
    monkeypatch.setattr(car, "make", lambda params, work, shard: pytest.fail("all that is left is to move what is there"))
    download(DATA)
    assert {path.name: path.read_bytes() for path in sorted((own / "data/raw" / DATA).iterdir())} == undisturbed


def test_without_names_it_is_about_what_evolves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert set(command.evolving()) >= {"world_controller"}
    assert not {"vae", "world_rnn"} & set(command.evolving())


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """All that a controller needs, built by DVC alone. Tests must not write into it."""
    workspace = make(tmp_path_factory.mktemp("chain") / "chain", ["world_vae", "world_rnn", ENTRY])
    for room in ("flows", "tasks"):
        shutil.copytree(ROOT / room, workspace.folder / room, ignore=shutil.ignore_patterns("__pycache__"))
    workspace.change("models", ENTRY, steps=12)
    workspace.dvc("repro", f"evaluate@{ENTRY}")
    return workspace


@pytest.fixture
def hiring(tmp_path: Path) -> Iterator[Hiring]:
    hiring = Hiring(tmp_path)
    yield hiring
    hiring.close()


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("runner", ["process", "dask"])
def test_the_flow_and_plain_dvc_make_the_same_even_where_a_worker_is_lost(
    chain: Workspace, tmp_path: Path, hiring: Hiring, runner: str
) -> None:
    other = copy(chain, tmp_path / "other")
    for part in ("raw", "processed", "models", "metrics", "work"):
        shutil.rmtree(other.folder / "data" / part, ignore_errors=True)
    shutil.rmtree(other.folder / ".dvc/cache", ignore_errors=True)
    shutil.rmtree(other.folder / ".dvc/tmp", ignore_errors=True)
    hired = [copy(other, tmp_path / name) for name in ("one", "two")] if runner == "dask" else []
    for worker in hired:
        hiring.hire(worker)
    options = ("--runner", "dask", "--scheduler", hiring.address) if hired else ("--workers", "2")
    flow = other.start(sys.executable, "-m", "flows.world_models", *options)
    lost = False
    deadline = time.monotonic() + 600
    while flow.poll() is None and not lost:
        assert time.monotonic() < deadline
        if (other.folder / f"data/work/{ENTRY}/checkpoint.pt").exists():
            workers = (hired[0] if hired else other).processes("spawn_main")  # Dask's nanny starts its worker so too
            workers[0].kill()
            lost = True
        time.sleep(0.02)
    output, _ = flow.communicate(timeout=600)
    assert flow.returncode == 0, output
    assert lost
    for path in (*RESULTS, "data/metrics/world_controller/figures.json"):
        assert other.read(path) == chain.read(path), path
    assert "Data and pipelines are up to date" in other.dvc("status", f"evaluate@{ENTRY}")
