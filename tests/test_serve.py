"""What Prefect adds to the pipeline: deployments, repeats, artifacts, and `flows.serve` with a real server and a real worker."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.request import Request, urlopen

import psutil
import pytest
from conftest import ROOT, read_yaml
from workspace import Workspace, make

from flows import artifacts
from flows.scheduler import Result
from flows.service import POOL
from tasks import policy
from tasks.dvc import StageFailedError, StageKilledError
from tasks.dvc import killed as was_killed

LONG = {"steps": 1_000_000, "checkpoint_every": 50, "log_every": 500}


def ended(error: Exception) -> Any:
    return SimpleNamespace(result=lambda raise_on_failure: error)


@pytest.mark.parametrize(
    ("words", "again"),
    [
        ("http://example.org/a.gz: no data for 30 seconds", True),
        ("http://example.org/a.gz: the connection broke: IncompleteRead", True),
        ("http://example.org/a.gz: answered 503 Service Unavailable", True),
        ("http://example.org/a.gz: answered 404 Not Found", False),
        ("http://example.org/a.gz: wrong content: expected sha256 ab, got cd (2 bytes)", False),
        ("http://example.org/a.gz: redirects without end", False),
        ("download photos: params.yaml: data.photos.path: expected a folder, got nowhere", False),
    ],
)
def test_a_download_is_repeated_where_the_network_failed(words: str, again: bool) -> None:
    run: Any = None
    assert policy.broken_off(run, run, ended(StageFailedError(words))) is again
    assert policy.broken_off(run, run, ended(StageKilledError(words)))


def test_another_stage_is_repeated_where_it_was_killed() -> None:
    run: Any = None
    assert policy.killed(run, run, ended(StageKilledError("step 100/600")))
    assert not policy.killed(run, run, ended(StageFailedError("train vae: params.yaml: models.vae.steps: expected 1 or more, got 0")))


@pytest.mark.parametrize(("code", "number", "yes"), [(255, "1", False), (255, "-9", True), (255, "137", True), (-9, "1", True)])
def test_a_killed_stage_is_known_by_its_number(code: int, number: str, yes: bool) -> None:
    heard = [f"ERROR: failed to reproduce 'train@a': failed to run: python -m generative.stages.train a, exited with {number}"]
    assert was_killed(code, heard) is yes


def test_a_gpu_is_taken_in_turn_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "glob", lambda self, pattern: iter([self / "nvidia0"]))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert policy.on_gpu()
    assert policy.hours(1) > policy.LONGEST  # to wait behind the longest training is no failure
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert not policy.on_gpu()
    assert policy.hours(1) == 3600
    monkeypatch.setenv("GENERATIVE_DEVICE", "cuda")
    assert policy.on_gpu()
    monkeypatch.setenv("GENERATIVE_DEVICE", "cpu")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    assert not policy.on_gpu()


def test_deployments_are_off_until_switched_on_and_explain_their_parameters() -> None:
    from prefect.utilities.callables import parameter_schema

    deployments = read_yaml(ROOT / "prefect.yaml")["deployments"]
    assert {(d["entrypoint"], d["name"]) for d in deployments} >= {
        ("flows/catalogue.py:catalogue", "nightly"),
        ("flows/model.py:model", "by-hand"),
    }
    for deployment in deployments:
        assert not any(schedule["active"] for schedule in deployment["schedules"])
        assert deployment["work_pool"]["name"] == POOL
        file, flow = deployment["entrypoint"].split(":")
        parameters = parameter_schema(getattr(import_module(f"flows.{Path(file).stem}"), flow).fn).properties
        assert parameters
        assert all(parameter.get("description") for parameter in parameters.values()), parameters


def test_artifacts_carry_pictures_captions_figures_and_links(in_built: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = artifacts.samples("vae")
    captions = json.loads(Path("data/samples/vae.json").read_text())
    assert captions
    assert all(caption in text for caption in captions.values())
    assert text.count("](data:image/png;base64,iVBORw0KGgo") == len(captions)

    measured = json.loads(Path("data/metrics/vae/figures.json").read_text())
    rows = artifacts.figures("vae")
    assert rows[0] == {"model": "vae", "figure": measured["figure"], "value": measured[measured["figure"]]}

    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert "* train@vae\n" in artifacts.runs(["train@vae"])  # no store yet: the run's name is all there is
    monkeypatch.setattr(artifacts, "_experiment", lambda store: "7")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://mlflow.example:5000/")
    link = "(http://mlflow.example:5000/#/experiments/7/runs?searchFilter=attributes.run_name%20%3D%20%27train%40vae%27)"
    assert f"* [train@vae]{link}" in artifacts.runs(["train@vae"])


def test_only_what_ran_is_published(in_built: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import prefect.artifacts

    made: list[str] = []
    for kind in ("markdown", "table"):
        monkeypatch.setattr(prefect.artifacts, f"create_{kind}_artifact", lambda content, key, about: made.append(key))
    monkeypatch.setenv("GENERATIVE_TRACKING", "on")
    artifacts.publish([Result("check", "ran"), Result("sample@vae_probe", "cached"), Result("sample@vae", "skipped")])
    assert made == ["samples-vae-probe"]
    artifacts.publish([Result("evaluate@vae", "ran"), Result("sample@mlp", "failed")])
    assert made == ["samples-vae-probe", "figures", "mlflow-runs"]


@dataclass
class Served:
    """A project with one tiny model, and what serves it."""

    workspace: Workspace
    port: int
    process: subprocess.Popen[str] = field(init=False)

    def start(self) -> None:
        with self.log.open("a") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "flows.serve", "--port", str(self.port)],
                cwd=self.workspace.folder,
                env=self.environment,
                text=True,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.until(lambda: self.log.read_text().count("Ctrl-C stops") >= 1)

    def stop(self) -> None:
        self.process.send_signal(signal.SIGINT)
        assert self.process.wait(60) == 0
        self.until(lambda: not self.workspace.processes("python") and not self.workspace.processes("generative"), 20)
        self.log.write_text("")

    @property
    def environment(self) -> dict[str, str]:
        """Without what importing our flows sets in this process: a project has a database of its own."""
        own = {key: value for key, value in self.workspace.environment.items() if not key.startswith("PREFECT")}
        return own | {"GENERATIVE_TRACKING": "spool", "DO_NOT_TRACK": "true"}

    @property
    def log(self) -> Path:
        return self.workspace.folder / "serve.log"

    def ask(self, route: str, body: object = None, method: str | None = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = Request(f"http://127.0.0.1:{self.port}/api/{route}", data, {"Content-Type": "application/json"}, method=method)
        with urlopen(request, timeout=60) as answer:
            return json.loads(answer.read() or "null")

    def begin(self, name: str) -> str:
        """Start a run as the form in the browser does; returns its id."""
        deployment = self.ask("deployments/name/model/by-hand")["id"]
        return self.ask(f"deployments/{deployment}/create_flow_run", {"parameters": {"name": name}})["id"]

    def state(self, run: str) -> str:
        return self.ask(f"flow_runs/{run}")["state"]["type"]

    def until(self, true: Callable[[], object], seconds: float = 200) -> None:
        deadline = time.monotonic() + seconds
        while not true():
            assert time.monotonic() < deadline, self.log.read_text()[-3000:]
            time.sleep(0.3)

    def trainer(self, other_than: int = 0) -> psutil.Process:
        """The process that trains, with a checkpoint behind it."""
        work = self.workspace.folder / "data/work/mlp"

        def owner() -> int:
            """Whoever holds the lock of the work folder wrote its id there."""
            text = (work / "lock").read_text() if any(work.glob("checkpoint*")) else ""
            return int(text) if text and int(text) != other_than and psutil.pid_exists(int(text)) else 0

        self.until(owner)
        return psutil.Process(owner())

    def resumed(self, lost: psutil.Process) -> psutil.Process:
        """The process that goes on with the training of `lost`."""
        before = self.log.read_text().count("resumes at step")
        trainer = self.trainer(other_than=lost.pid)
        self.until(lambda: self.log.read_text().count("resumes at step") > before)
        return trainer


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("served")
    workspace = make(folder, ["mlp"])
    for name in ("flows", "tasks", "prefect.yaml"):
        (folder / name).symlink_to(ROOT / name)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    served = Served(workspace, port)
    served.start()
    yield served
    if served.process.poll() is None:
        served.stop()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_run_by_command_goes_through_and_shows_what_it_made(served: Served) -> None:
    environment = served.environment | {"PREFECT_API_URL": f"http://127.0.0.1:{served.port}/api"}
    command = [Path(sys.executable).parent / "prefect", "deployment", "run", "model/by-hand", "--param", "name=mlp", "--watch"]
    answer = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=400, check=False)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    made = {artifact["key"]: artifact for artifact in served.ask("artifacts/filter", {})}
    assert set(made) == {"samples-mlp", "figures", "mlflow-runs"}
    assert "data:image/png;base64," in made["samples-mlp"]["data"]
    assert json.loads(made["figures"]["data"])[0]["model"] == "mlp"
    assert "sample@mlp" in made["mlflow-runs"]["data"]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_wrong_parameter_fails_once_and_is_named(served: Served) -> None:
    run = served.begin("mlq")
    served.until(lambda: served.state(run) not in ("SCHEDULED", "PENDING", "RUNNING"))
    record = served.ask(f"flow_runs/{run}")
    assert (record["state"]["type"], record["run_count"]) == ("FAILED", 1)
    assert "mlq: no stage works on it; did you mean mlp?" in record["state"]["message"]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_lost_stage_a_lost_worker_and_a_killed_machine_cost_no_work(served: Served) -> None:
    served.workspace.change("models", "mlp", **LONG)
    run = served.begin("mlp")
    first = served.trainer()
    first.kill()  # the task repeats it
    second = served.resumed(first)
    assert served.ask(f"flow_runs/{run}")["run_count"] == 1

    for runs, role in [(2, "worker"), (3, "server")]:  # each is started again, and takes up the run
        [lost] = served.workspace.processes(role)
        lost.kill()
        third = served.resumed(second)
        assert not second.is_running()
        assert served.ask(f"flow_runs/{run}")["run_count"] == runs
        second = third

    served.process.kill()  # all of it at once
    served.process.wait()
    served.until(lambda: not second.is_running(), 30)
    served.log.write_text("")
    served.start()
    last = served.resumed(second)

    served.ask(f"flow_runs/{run}/set_state", {"state": {"type": "CANCELLING", "name": "Cancelling"}, "force": True})
    served.until(lambda: served.state(run) == "CANCELLED", 60)
    served.until(lambda: not last.is_running(), 30)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_an_end_leaves_nothing_and_a_schedule_stays_as_it_was_set(served: Served) -> None:
    served.workspace.change("models", "mlp", **LONG)
    nightly = served.ask("deployments/name/catalogue/nightly")
    assert [schedule["active"] for schedule in nightly["schedules"]] == [False]
    served.ask(f"deployments/{nightly['id']}/schedules/{nightly['schedules'][0]['id']}", {"active": True}, "PATCH")
    run = served.begin("mlp")
    served.trainer()
    served.stop()
    served.start()
    assert [schedule["active"] for schedule in served.ask("deployments/name/catalogue/nightly")["schedules"]] == [True]
    time.sleep(5)
    assert served.state(run) == "CRASHED"  # somebody stopped it: it does not come back by itself
    served.stop()


@pytest.mark.slow
def test_a_taken_port_is_named(served: Served) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
        answer = served.workspace.run(sys.executable, "-m", "flows.serve", "--port", str(port), code=1)
    assert answer == f"serve: --port {port}: cannot be listened on: Address already in use; try another one\n"
