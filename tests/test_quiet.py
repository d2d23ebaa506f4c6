"""Nobody is called, and nobody from outside can call: servers on loopback, telemetry off, no connection but those that were asked for."""

from __future__ import annotations

import configparser
import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import workspace
from conftest import ROOT, tiny_catalogue, write_catalogue

from generative.training import delivery

OURS = sorted(path for folder in ("src", "flows", "tasks") for path in (ROOT / folder).rglob("*.py"))

# --- nobody from outside can call


def test_servers_listen_on_loopback_only(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from flows import server

    listening: list[Any] = []

    def instead(command: list[str], pass_fds: list[int], **_: Any) -> Any:
        with socket.socket(fileno=os.dup(pass_fds[0])) as listener:
            listening.append(listener.getsockname()[0])
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setenv("PREFECT_HOME", str(tmp_path))
    monkeypatch.setenv("PREFECT_API_URL", "")
    monkeypatch.setattr(server.subprocess, "Popen", instead)
    monkeypatch.setattr(server.atexit, "register", lambda _: None)
    monkeypatch.setattr(subprocess.CompletedProcess, "terminate", None, raising=False)
    server.start()
    assert listening == ["127.0.0.1"]
    assert os.environ["PREFECT_API_URL"].startswith("http://127.0.0.1:")


def test_no_place_names_another_address_to_listen_on() -> None:
    makefile = (ROOT / "Makefile").read_text().replace("\\\n", " ")
    for line in makefile.splitlines():
        if re.search(r"(mlflow (ui|server)|prefect server start)", line):
            assert re.search(r"--host[ =]127\.0\.0\.1\b", line), line
    assert "--host 127.0.0.1" in makefile
    for text in [makefile, *(path.read_text() for path in OURS)]:
        assert not re.search(r"0\.0\.0\.0|['\"]::['\"]", text)


# --- nobody is called


def test_telemetry_is_off_in_what_make_starts() -> None:
    exported = dict(re.findall(r"^export (\w+) := (\w+)$", (ROOT / "Makefile").read_text(), re.M))
    wanted = {
        "DVC_NO_ANALYTICS": "1",
        "DO_NOT_TRACK": "true",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    }
    assert exported.items() >= wanted.items()


def test_telemetry_is_off_without_make_too() -> None:
    config = configparser.ConfigParser()
    config.read(ROOT / ".dvc/config")
    assert config["core"]["analytics"] == "false"
    assert config["core"]["check_update"] == "false"
    assert delivery.QUIET.items() >= {"DO_NOT_TRACK": "true", "MLFLOW_DISABLE_TELEMETRY": "true"}.items()
    bare = {key: value for key, value in os.environ.items() if not re.search("TRACK|ANALYTICS|TELEMETRY", key)}
    script = "import flows, os; print(os.environ['DO_NOT_TRACK'], os.environ['PREFECT_SERVER_ANALYTICS_ENABLED'])"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, env=bare, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["true", "false"]


# Python asks this hook about every connection and every name that is looked up; nothing but loopback is let through.
GUARD = """
import os, sys
def guard(event, arguments):
    if event not in ("socket.connect", "socket.sendto", "socket.getaddrinfo", "socket.gethostbyname"):
        return
    address = arguments[0] if event.startswith("socket.get") else arguments[1]
    host = address[0] if isinstance(address, tuple) else address
    if isinstance(address, (str, bytes)) and event in ("socket.connect", "socket.sendto"):
        return
    if str(host) in ("127.0.0.1", "::1", "localhost", "None", "b'127.0.0.1'"):
        return
    with open(os.environ["CALLED"], "a") as file:
        file.write(f"{event} {address} {sys.argv[:3]}\\n")
    raise OSError("no network here")
sys.addaudithook(guard)
"""


@pytest.fixture
def guarded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Has every Python process that is started from now on note down whom it tries to call, in the file returned."""
    (tmp_path / "guard").mkdir()
    (tmp_path / "guard/sitecustomize.py").write_text(GUARD)
    monkeypatch.setenv("CALLED", str(tmp_path / "called"))
    return tmp_path / "called"


def test_the_guard_notices_a_call(guarded: Path) -> None:
    script = "import socket; socket.create_connection(('192.0.2.1', 80))"
    environment = os.environ | {"PYTHONPATH": str(guarded.with_name("guard"))}
    assert subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, check=False).returncode
    assert "192.0.2.1" in guarded.read_text()


def test_the_stages_call_nobody(guarded: Path, tmp_path: Path) -> None:
    content = tiny_catalogue()
    content["models"] = {"mlp": content["models"]["mlp"]}
    write_catalogue(tmp_path, content | {"encodings": {}})
    calls = "".join(
        f"from generative.stages.{stage} import {stage}; {stage}('{name}')\n"
        for stage, name in [("download", "glyphs"), ("preprocess", "glyphs"), ("train", "mlp"), ("evaluate", "mlp"), ("sample", "mlp")]
    )
    environment = os.environ | {"PYTHONPATH": f"{guarded.with_name('guard')}:{ROOT / 'src'}"}
    done = subprocess.run([sys.executable, "-c", calls], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "data/metrics/mlp/figures.json").read_text())
    assert not guarded.exists()


@pytest.mark.slow
@pytest.mark.parametrize("command", [("dvc", "repro"), (sys.executable, "-m", "flows.catalogue")], ids=["dvc", "flow"])
def test_a_whole_run_with_its_courier_calls_nobody(guarded: Path, tmp_path: Path, command: tuple[str, ...]) -> None:
    place = workspace.make(tmp_path / "project", ["mlp"])
    for name in ("flows", "tasks"):
        (place.folder / name).symlink_to(ROOT / name)
    bare = {key: value for key, value in place.environment.items() if not re.search("TRACK|ANALYTICS|TELEMETRY|PREFECT|MLFLOW", key)}
    environment = bare | {"PYTHONPATH": f"{guarded.with_name('guard')}:{place.folder / 'src'}"}
    for arguments in (command, (sys.executable, "-m", "generative.training.delivery", "--once")):
        done = subprocess.run(arguments, cwd=place.folder, env=environment, capture_output=True, text=True, timeout=280, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    assert (place.folder / "mlflow.db").exists()
    assert not guarded.exists(), guarded.read_text()
