"""What a stage notes reaches MLflow whole, whoever is killed and whatever is away meanwhile, and the stage never pays for it."""

from __future__ import annotations

import json
import math
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from mlflow import MlflowClient
from mlflow.entities import Run as MlflowRun
from PIL import Image

from generative.training import delivery
from generative.training.ledger import Ledger
from generative.training.parcel import Parcel
from generative.training.tracking import SPOOL, Run, is_locked

pytestmark = pytest.mark.xdist_group("tracking")  # they share one database that is made once

WRITER = """
import sys, time
from generative.training.tracking import Run
with Run("train", sys.argv[1], {"steps": 3}, {}) as run:
    for step in range(int(sys.argv[2])):
        run.metrics({"loss": step / 2}, step)
    print("noted", flush=True)
    time.sleep(float(sys.argv[3]))
"""


@pytest.fixture(scope="session")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("database") / "mlflow.db"
    delivery.make_database(path)
    return path


@pytest.fixture
def spool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, database: Path) -> Path:
    """A workspace with an empty database and no courier."""
    shutil.copy(database, tmp_path / "mlflow.db")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GENERATIVE_TRACKING", "spool")
    monkeypatch.setenv("GENERATIVE_EXECUTION", "flow-1")
    monkeypatch.setenv("MLFLOW_TRUNCATE_LONG_VALUES", "false")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return tmp_path / SPOOL


def client() -> MlflowClient:
    return MlflowClient(delivery.tracking_uri(), delivery.tracking_uri())


def runs(name: str | None = None) -> list[MlflowRun]:
    """The children, or those of one catalogue entry."""
    store = client()
    experiment = store.get_experiment_by_name("generative")
    assert experiment is not None
    found = store.search_runs([experiment.experiment_id])
    return [run for run in found if "spool" in run.data.tags and name in (None, run.data.tags["name"])]


def steps(run: MlflowRun, key: str = "loss") -> list[int]:
    return [point.step for point in client().get_metric_history(run.info.run_id, key)]


def parent(run: MlflowRun) -> MlflowRun:
    return client().get_run(run.data.tags["mlflow.parentRunId"])


def python(*words: str, **environment: str) -> subprocess.Popen[str]:
    environment = {**os.environ, **environment}
    return subprocess.Popen([sys.executable, *words], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 40
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def model_folder(weights: bytes = b"weights") -> Path:
    folder = Path("data/models/vae")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / "weights.safetensors").write_bytes(weights)
    return folder


def test_a_run_appears_whole(spool: Path) -> None:
    with Run("train", "vae", {"steps": 3000, "long": "x" * 9000}, {"device": "cpu"}) as run:
        for step in range(3):
            run.metrics({"vae/loss (nats)": 1.5 * step, "nan": math.nan}, step)
        Image.new("L", (8, 8)).save("sheet.png")
        Path("notes.txt").write_text("hello")
        run.image("samples", Path("sheet.png"), 2)
        run.artifact(Path("notes.txt"))
        run.model(model_folder(), {"steps": "3000"})
    for file in ("sheet.png", "notes.txt"):
        Path(file).write_text("changed in place")
    assert delivery.once(spool) == 0
    (found,) = runs()
    assert (found.info.run_name, found.info.status) == ("train@vae", "FINISHED")
    assert found.data.params == {"steps": "3000", "long": "x" * 6000}
    assert (found.data.tags["device"], found.data.tags["revision"]) == ("cpu", "none")
    history = client().get_metric_history(found.info.run_id, "vae/loss _nats_")
    assert [(point.step, point.value) for point in history] == [(0, 0.0), (1, 1.5), (2, 3.0)] and steps(found, "nan") == [0, 1, 2]
    assert {file.path for file in client().list_artifacts(found.info.run_id)} == {"images", "notes.txt"}
    pictures = [file.path for file in client().list_artifacts(found.info.run_id, "images")]
    assert any(path.startswith("images/samples+step+2+") and path.endswith(".png") for path in pictures)
    (version,) = client().search_model_versions("name = 'vae'")
    source = Path("data/models/vae").resolve().as_uri()
    assert (version.run_id, version.source, version.tags["steps"]) == (found.info.run_id, source, "3000")
    assert (parent(found).info.status, str(parent(found).info.run_name)[:7]) == ("FINISHED", "flow 20")
    assert not delivery.waiting(spool)


def test_same_weights_are_one_version(spool: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "PULSE", 0.05)
    monkeypatch.setattr(delivery, "LINGER", 0.2)
    for weights in (b"first", b"first", b"second"):
        with Run("train", "vae", {}, {}) as run:
            run.model(model_folder(weights), {})
    assert delivery.stay(spool) == set()  # a courier leaves when nothing more comes
    assert len(client().search_model_versions("name = 'vae'")) == 2


def test_a_live_run_is_seen_and_goes_on(spool: Path) -> None:
    with Run("train", "vae", {}, {}) as run:
        run.metrics({"loss": 1.0}, 0)
        append(spool, b'{"event": "metrics", "time": 9999999999999, "step": 1, ')  # half a line
        assert delivery.once(spool) == 0
        (live,) = runs()
        assert (live.info.status, parent(live).info.status, steps(live)) == ("RUNNING", "RUNNING", [0])
        append(spool, b'"values": {"loss": 1.0}}\n')
    assert delivery.once(spool) == 0
    (ended,) = runs()
    assert ended.info.run_id == live.info.run_id
    assert (ended.info.status, parent(ended).info.status, steps(ended)) == ("FINISHED", "FINISHED", [0, 1])


def test_a_later_stage_joins_its_parent(spool: Path) -> None:
    with pytest.raises(RuntimeError), Run("train", "vae", {}, {}):
        raise RuntimeError("no luck")
    delivery.once(spool)
    (failed,) = runs("vae")
    assert (failed.info.status, failed.data.tags["error"]) == ("FAILED", "RuntimeError: no luck")
    assert parent(failed).info.status == "FAILED"
    with Run("train", "cnn", {}, {}):
        delivery.once(spool)
        assert parent(failed).info.status == "RUNNING"
    delivery.once(spool)
    assert parent(failed).info.status == "FAILED"
    assert parent(runs("cnn")[0]).info.run_id == parent(failed).info.run_id


def test_a_killed_writer_loses_nothing(spool: Path) -> None:
    writer = python("-c", WRITER, "vae", "500", "60")
    assert writer.stdout is not None and writer.stdout.readline() == "noted\n"
    writer.kill()
    writer.communicate()
    append(spool, b'{"event": "met')  # the line it was writing
    assert delivery.once(spool) == 0
    (found,) = runs()
    assert (found.info.status, parent(found).info.status, delivery.waiting(spool)) == ("KILLED", "FAILED", [])
    assert steps(found) == list(range(500))


def test_a_server_that_is_away_gets_the_run_later(spool: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as reserved:  # bound but not listening: connections are refused
        reserved.bind(("127.0.0.1", 0))
        with Run("train", "vae", {}, {}) as run:
            run.metrics({"loss": 1.0}, 0)
        uri = f"http://127.0.0.1:{reserved.getsockname()[1]}"
        courier = python("-m", "generative.training.delivery", "--once", MLFLOW_TRACKING_URI=uri)
        _, message = courier.communicate(timeout=60)
        with monkeypatch.context() as patched:
            patched.setenv("MLFLOW_TRACKING_URI", uri)
            assert len(delivery.stay(spool)) == 1  # nobody is alive: it does not wait for the server
    assert courier.returncode == 1
    assert f"MLflow at {uri} cannot be used, 1 run waits in data/spool" in message
    assert (len(message.splitlines()), len(delivery.waiting(spool))) == (1, 1)
    assert delivery.once(spool) == 0
    assert steps(runs()[0]) == [0]


def test_a_delivery_cut_off_anywhere_is_taken_up(spool: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Run("train", "vae", {"a": 1}, {}) as run:
        for step in range(2500):
            run.metrics({"loss": 0.5}, step)
        run.model(model_folder(), {})
    advance, discard, places = Parcel.advance, Parcel.discard, set[tuple[int, ...]]()

    def cut_off(parcel: Parcel, *place: int) -> None:
        """Dies once at each place, before anything is written down."""
        if place not in places:
            places.add(place)
            raise RuntimeError
        (advance if place else discard)(parcel, *place)

    monkeypatch.setattr(Parcel, "advance", cut_off)
    monkeypatch.setattr(Parcel, "discard", cut_off)
    for _ in range(6):  # start, three batches, model, end
        with pytest.raises(RuntimeError):
            delivery.once(spool)
    assert delivery.once(spool) == 0
    (found,) = runs()
    assert (found.info.status, steps(found)) == ("FINISHED", list(range(2500)))
    assert len(client().search_model_versions("name = 'vae'")) == 1


def test_a_killed_courier_loses_nothing(spool: Path) -> None:
    with Run("train", "vae", {}, {}) as run:
        for step in range(8000):
            run.metrics({"loss": 0.5}, step)
    courier = python("-m", "generative.training.delivery", "--once")
    until(lambda: any(Parcel.at(folder, delivery.tracking_uri()).offset > 100_000 for folder in delivery.waiting(spool)))
    courier.kill()
    courier.communicate()
    assert len(delivery.waiting(spool)) == 1
    assert delivery.once(spool) == 0
    (found,) = runs()
    assert (found.info.status, steps(found)) == ("FINISHED", list(range(8000)))


def test_a_run_that_the_store_does_not_know_is_delivered_again(spool: Path) -> None:
    with Run("train", "vae", {}, {}) as run:
        delivery.once(spool)
        state = next(spool.glob("*/state.json"))
        state.write_text(json.dumps({**json.loads(state.read_text()), "run": "0" * 32}))
        run.metrics({"loss": 1.0}, 1)
    assert (delivery.once(spool), steps(runs()[0])) == (0, [1])


def test_what_mlflow_refuses_holds_nothing_up(spool: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Run("train", "vae", {}, {}) as run:
        Path("broken.png").write_bytes(b"no picture")
        run.image("samples", Path("broken.png"), 1)
        append(spool, b"no json\n")
        run.metrics({"loss": 1.0}, 7)
    assert delivery.once(spool) == 0
    assert steps(runs()[0]) == [7]
    assert all(f"MLflow refused {event}" in message for message in [capsys.readouterr().err] for event in ("image", "damaged"))


def append(spool: Path, line: bytes) -> None:
    with next(spool.glob("*/events.jsonl")).open("ab") as events:
        events.write(line)


def couriers(root: Path) -> list[psutil.Process]:
    found = psutil.process_iter(["cmdline", "cwd"])
    return [one for one in found if one.info["cwd"] == str(root) and "generative.training.delivery" in (one.info["cmdline"] or [])]


def test_two_stages_share_one_courier(spool: Path, tmp_path: Path) -> None:
    writers = [python("-c", WRITER, name, "300", "1", GENERATIVE_TRACKING="on") for name in ("vae", "cnn")]
    try:
        for writer in writers:
            _, complaints = writer.communicate(timeout=30)  # the pipes close with the stage, whatever the courier does
            assert not complaints
        until(lambda: is_locked(spool / ".lock"))
        until(lambda: not delivery.waiting(spool))
        (courier,) = couriers(tmp_path)
        courier.terminate()
        courier.wait(10)
    finally:
        for courier in couriers(tmp_path):
            courier.kill()
    assert not is_locked(spool / ".lock") and "Traceback" not in (spool / "courier.log").read_text()
    vae, cnn = runs("vae")[0], runs("cnn")[0]
    assert (steps(vae), steps(cnn)) == (list(range(300)), list(range(300)))
    assert parent(vae).info.run_id == parent(cnn).info.run_id


def test_a_run_that_cannot_start_waits_and_holds_up_no_other(spool: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("vae", "cnn"):
        with Run("train", name, {}, {}):
            pass
    start = Ledger.start

    def refuse(ledger: Ledger, parcel: Parcel, event: dict[str, Any]) -> str:
        return start(ledger, parcel, event if event["name"] == "cnn" else {})

    with monkeypatch.context() as patched:
        patched.setattr(Ledger, "start", refuse)
        assert delivery.once(spool) == 1
    assert [run.data.tags["name"] for run in runs()] == ["cnn"]
    assert (delivery.once(spool), len(runs())) == (0, 2)
