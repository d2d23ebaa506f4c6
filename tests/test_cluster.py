"""Stages on the workers of a Dask scheduler, which share nothing with the flow but a DVC remote: the same bytes as without."""

from __future__ import annotations

import json
import re
import shutil
import signal
import socket
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest
from conftest import ROOT, read_yaml
from hired import Crew
from workspace import Workspace

from flows.command import _arguments
from generative.errors import UsageError
from tasks import cluster, policy, worker
from tasks.dvc import StageFailedError, away, handed_to, killed, last_words, outcome
from tasks.record import merged
from tasks.worker import Introduction, differing, pack

LOCK = """schema: '2.0'
stages:
  check:
    cmd: a
  train@a:
    cmd: b
    outs:
    - path: c
"""


def test_an_entry_of_the_lock_takes_the_place_of_the_old_one() -> None:
    entry = "  train@a:\n    cmd: new\n"
    assert merged(LOCK, entry) == LOCK[: LOCK.index("  train@a:")] + entry
    assert merged(LOCK, "  train@b:\n    cmd: d\n") == LOCK + "  train@b:\n    cmd: d\n"
    assert merged(merged("schema: '2.0'\nstages:\n", LOCK), entry) == merged(LOCK, entry)


def test_the_lock_of_the_catalogue_is_taken_apart_and_put_together() -> None:
    lock = (ROOT / "dvc.lock").read_text()
    stages = read_yaml(ROOT / "dvc.lock")["stages"]
    assert "schema: '2.0'\nstages:\n" + "".join(worker.entry(lock, stage) for stage in stages) == lock


def test_a_parcel_has_what_no_remote_keeps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copyfile(ROOT / "dvc.yaml", "dvc.yaml")
    figures = Path("data/metrics/a/figures.json")
    for path, text in {"dvc.lock": LOCK, "data/checked.txt": "valid", figures: "{}", "data/metrics/a/curve.csv": "1,2"}.items():
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_text(text)
    parcel = pack(["check", "evaluate@a", "train@a"])
    assert parcel.files == {"data/checked.txt": b"valid", str(figures): b"{}"}
    assert parcel.lock == LOCK.split("stages:\n")[1]
    figures.write_text("other")
    Path("dvc.lock").unlink()
    parcel.unpack()
    assert (figures.read_text(), Path("dvc.lock").read_text()) == ("{}", LOCK)


def test_what_differs_is_named() -> None:
    assert differing({"a.py": "1", "torch": "2.13"}, {"a.py": "1", "torch": "2.13"}) == ""
    assert differing({"params.yaml": "1"}, {"params.yaml": "2"}).startswith("params.yaml is not the flow's; expected a clone of the same")
    assert differing({"torch": "2.13.0"}, {"torch": "2.12.0"}) == "torch: expected 2.13.0 as where the flow runs, got 2.12.0"
    assert differing({"a.py": "1"}, {}).startswith("a.py is not")
    assert differing({}, {"a.py": "1"}).startswith("a.py is not")


def test_outputs_that_were_pulled_are_no_run() -> None:
    assert outcome("train@a", ["Pulling data for stage: 'train@a'"]) == "skipped"
    assert outcome("train@a", ["Pulling data for stage: 'train@a'", "Running stage 'train@a':"]) == "ran"


def test_what_a_remote_lacks_is_no_news_where_the_stage_runs_instead() -> None:
    lines = ["WARNING: Some of the cache files do not exist neither locally nor on remote. Missing cache files:", f"md5: {'a' * 32}.dir"]
    assert last_words([*lines, "name: x, md5: " + "b" * 32, "train a: steps: expected 1", *lines]) == "train a: steps: expected 1"


def test_a_dvc_that_is_still_ending_is_waited_for() -> None:
    assert killed(1, ["ERROR: failed to reproduce 'train@a': 'data/models/a' is busy, it is being blocked by:", "  (PID 7): dvc repro"])
    assert not killed(1, ["ERROR: failed to reproduce 'train@a': missing data 'source': data/models/a"])


def test_a_gpu_here_is_nothing_to_stages_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    def asked(**_: object) -> None:
        raise AssertionError("waited for a turn")

    monkeypatch.setattr(policy, "on_gpu", lambda: True)
    monkeypatch.setattr("prefect.get_client", asked)
    with handed_to(lambda stage, say, execution: "ran"):
        assert away()
        with policy.turn():
            pass
    assert not away()


def test_a_worker_learns_a_trade_once_and_only_from_a_flow_of_its_own_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(worker, "trades", {"old": min})
    given = {"setup": worker.packed(partial(partial, pow, 2)), "facts": worker.facts()}
    assert worker.answer("new", None, worker.packed((3,))) == (False, None)
    with pytest.raises(StageFailedError, match=r"params\.yaml is not the flow's"):
        worker.answer("new", given | {"facts": worker.facts() | {"params.yaml": "x"}}, worker.packed((3,)))
    assert worker.answer("new", given, worker.packed((3,))) == (True, 8)
    assert worker.answer("new", None, worker.packed((5,))) == (True, 32)
    assert list(worker.trades) == ["new"], "what an earlier flow needed is let go"


class Client:
    """What a scheduler with these workers answers."""

    def __init__(self, *workers: Introduction | Exception, threads: int = 1) -> None:
        self.met = {f"tcp://127.0.0.1:{port}": them for port, them in enumerate(workers, 4001)}
        self.threads = threads
        self.scheduler = type("Scheduler", (), {"address": "tcp://127.0.0.1:8786"})

    def run(self, function: object, on_error: str) -> dict[str, Introduction | Exception]:
        return self.met

    def scheduler_info(self, n_workers: int) -> dict[str, Any]:
        return {"workers": {address: {"nthreads": self.threads} for address in self.met}}

    def subscribe_topic(self, topic: str, handler: object) -> None: ...


def here(folder: str = "host:/clone", remote: str = "store", **changed: str) -> Introduction:
    return Introduction(folder, worker.facts() | changed, remote)


@pytest.mark.parametrize(
    ("client", "message"),
    [
        (Client, "--scheduler tcp://127.0.0.1:8786: expected workers, it has none"),
        (lambda: Client(here(), here("host:/other", **{"params.yaml": "x"})), "4002: host:/other: params.yaml is not the flow's"),
        (lambda: Client(here(torch="1.0")), "4001: host:/clone: torch: expected .*, got 1.0"),
        (lambda: Client(here(remote="")), "4001: host:/clone: expected a default DVC remote"),
        (lambda: Client(here(), here()), "4002: expected a clone of its own, got host:/clone, where tcp://127.0.0.1:4001 is at work"),
        (lambda: Client(here(worker.introduce().folder)), "4001: expected a clone of its own, got .*, where the flow is at work"),
        (lambda: Client(here(), threads=2), "4001: host:/clone: expected --nthreads 1, .*, got 2"),
        (
            lambda: Client(ModuleNotFoundError("No module named 'tasks'")),
            "4001: expected one started by `python -m dask worker` in a clone",
        ),
    ],
)
def test_a_worker_that_would_do_harm_is_refused(client: Any, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(cluster, "remote", lambda: "store")
    monkeypatch.setattr(worker, "remote", lambda: "store")
    cluster.Cluster(Client(here()), {}).meet(remotes=True)
    with pytest.raises(UsageError, match=message):
        cluster.Cluster(client(), {}).meet(remotes=True)
    monkeypatch.setattr(cluster, "remote", lambda: "")
    with pytest.raises(UsageError, match=r"\.dvc/config: expected a default DVC remote"):
        cluster.Cluster(Client(here()), {}).meet(remotes=True)


@pytest.fixture
def silent() -> Iterator[str]:
    """The address of something that waits to be spoken to, as Prefect's server or Dask's own pages would."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"127.0.0.1:{listener.getsockname()[1]}"


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:9", "127.0.0.1:9", "tcp://127.0.0.1", "nowhere", "tcp://127.0.0.1:x", "{silent}"])
def test_an_address_that_nobody_answers_at_is_named(address: str, silent: str, monkeypatch: pytest.MonkeyPatch) -> None:
    address = address.format(silent=silent)
    monkeypatch.setattr(cluster, "find_spec", lambda name: True)
    monkeypatch.setattr(cluster, "PATIENCE", 0.5)
    with pytest.raises(UsageError, match=f"--scheduler {address}: expected a Dask scheduler, .*, none answers there"):
        cluster.look(address)


def test_dask_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"--runner dask: expected Dask in this environment, found none; pip install '\.\[cluster\]'"):
        cluster.look("tcp://127.0.0.1:8786")


def arguments(monkeypatch: pytest.MonkeyPatch, *words: str) -> dict[str, Any]:
    monkeypatch.setattr(sys, "argv", ["flows", *words])
    return _arguments("catalogue", "")


def test_the_scheduler_is_an_option_or_dasks_variable(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("DASK_SCHEDULER_ADDRESS", "tcp://a:1")
    assert arguments(monkeypatch, "vae") == {"names": ["vae"], "workers": None, "scheduler": None}
    assert arguments(monkeypatch, "--runner", "process")["scheduler"] is None
    assert arguments(monkeypatch, "--runner", "dask")["scheduler"] == "tcp://a:1"
    assert arguments(monkeypatch, "--runner", "dask", "--scheduler", "tcp://b:2")["scheduler"] == "tcp://b:2"
    assert arguments(monkeypatch, "--scheduler", "tcp://b:2")["scheduler"] == "tcp://b:2"
    monkeypatch.delenv("DASK_SCHEDULER_ADDRESS")
    for words, message in {
        ("--runner", "dask"): "dask wants the address of a scheduler, by --scheduler or DASK_SCHEDULER_ADDRESS",
        ("--runner", "process", "--scheduler", "tcp://b:2"): "argument --scheduler: only with --runner dask",
        ("--runner", "ray"): "invalid choice: 'ray'",
    }.items():
        with pytest.raises(SystemExit):
            arguments(monkeypatch, *words)
        assert message in capsys.readouterr().err


@pytest.fixture(scope="module")
def crew(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Crew]:
    crew = Crew(tmp_path_factory.mktemp("crew"))
    yield crew
    crew.close()


def outputs(workspace: Workspace) -> dict[str, dict[str, Any]]:
    """Of every stage in dvc.lock, the command and the hashes of what it depends on and of what it made."""
    stages = read_yaml(workspace.folder / "dvc.lock")["stages"]
    return {name: {part: stages[name].get(part) for part in ("cmd", "params", "deps", "outs")} for name in stages}


@pytest.mark.slow
@pytest.mark.xdist_group("cluster")
@pytest.mark.timeout(900)
class TestCrew:
    """One after the other, on one crew."""

    @pytest.mark.parametrize("by", [signal.SIGINT, signal.SIGKILL])
    def test_a_flow_that_ends_takes_its_stages_with_it(self, crew: Crew, by: signal.Signals) -> None:
        crew.flag.write_text("wait")
        process = crew.flow.start("python", "-m", "flows.catalogue", "mlp", "--scheduler", crew.address)
        file = crew.folder / "stage"
        while not file.exists() or not file.read_text():
            assert process.poll() is None, process.communicate()[0]
            time.sleep(0.1)
        stage = psutil.Process(int(file.read_text()))
        file.unlink()
        process.send_signal(by)
        out, _ = process.communicate(timeout=30)
        assert process.returncode == (130 if by == signal.SIGINT else -by), out
        assert not psutil.wait_procs([stage], timeout=10)[1]

    def test_a_stage_outlives_its_worker(self, crew: Crew) -> None:
        crew.flag.write_text("die")
        printed = crew.run("mlp")
        where = re.findall(r"^train@mlp \| at work on (\S+)$", printed, re.MULTILINE)
        assert len(set(where)) == 2, printed
        assert re.search(r"^train@mlp +ran", printed, re.MULTILINE)
        assert sum(process.poll() is not None for process in crew.processes) == 1
        dead = next(number for number, process in enumerate(crew.processes) if process.poll() is not None)
        crew.hire(crew.clones[dead - 1])

    def test_the_result_is_that_of_a_serial_run(self, crew: Crew) -> None:
        crew.serial.dvc("repro")
        printed = crew.run()
        places = set(re.findall(r" \| at work on (\S+)$", printed, re.MULTILINE))
        assert len(places) == 2, printed
        assert outputs(crew.flow) == outputs(crew.serial)
        assert json.loads(crew.flow.dvc("status", "--json")) == {}
        assert (crew.flow.folder / "data/samples/vae.json").exists()
        for clone in crew.clones:
            assert not clone.processes("generative.stages")
        assert re.fullmatch(r"\d+ up to date; [\d.]+ s in all\n", crew.run())

    def test_a_change_runs_what_it_touches(self, crew: Crew) -> None:
        for clone in (crew.flow, *crew.clones):
            clone.change("models", "mlp", seed=7)
        printed = crew.run("mlp")
        assert re.search(r"^4 ran, 2 up to date; ", printed, re.MULTILINE), printed  # check, train, evaluate, sample
        assert json.loads(crew.flow.dvc("status", "--json")) == {}

    def test_a_clone_with_other_parameters_is_refused(self, crew: Crew) -> None:
        crew.flow.change("models", "mlp", seed=9)
        printed = crew.run("mlp", code=1)
        assert re.search(r"^catalogue: worker tcp://\S+: \S+: params\.yaml is not the flow's; .*\n\Z", printed, re.MULTILINE), printed
        assert "Traceback" not in printed
