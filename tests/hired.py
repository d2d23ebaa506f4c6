"""A scheduler and workers in clones of their own, for tests/test_cluster.py."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from conftest import ROOT
from distributed import Client
from workspace import Workspace, commit, make

# On the first try: the stage kills the worker that it runs for and the one that would start it again, or waits to be stopped.
TROUBLE = """
import os, pathlib, time
import psutil
flag = pathlib.Path("{flag}")
if os.environ.get("DVC_STAGE") == "train@mlp" and flag.exists():
    what = flag.read_text()
    flag.unlink()
    flag.with_name("stage").write_text(str(os.getpid()))
    if what == "die":
        flow_side = psutil.Process().parents()[2:4]
        for process in reversed(flow_side):
            process.kill()
    time.sleep(100)
"""


class Hiring:
    """A scheduler, and the workers that are started for it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.processes: list[subprocess.Popen[bytes]] = []
        about = folder / "scheduler.json"
        self.start(folder, "scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", str(about))
        while not about.exists() or not about.stat().st_size:
            time.sleep(0.1)
        self.address = json.loads(about.read_text())["address"]

    def hire(self, clone: Workspace) -> None:
        spare = str(self.folder / f"{clone.folder.name}.spare")
        options = ("--nworkers", "1", "--nthreads", "1", "--host", "127.0.0.1", "--no-dashboard", "--local-directory", spare)
        self.start(clone.folder, "worker", self.address, *options, environment=clone.environment)
        with Client(self.address, set_as_default=False) as client:
            client.wait_for_workers(sum(process.poll() is None for process in self.processes) - 1, timeout=120)

    def start(self, folder: Path, *command: str, environment: dict[str, str] | None = None) -> None:
        log = (self.folder / f"{folder.name}.log").open("ab")
        words = [sys.executable, "-m", "dask", *command]
        environment = environment or {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        self.processes.append(subprocess.Popen(words, cwd=folder, env=environment, stdout=log, stderr=log))

    def close(self) -> None:
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            process.wait(30)


class Crew(Hiring):
    """A scheduler, a flow's clone and two workers in clones of their own, with one remote."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.flag = folder / "flag"
        origin = make(folder / "origin", ["mlp", "vae"])
        for room in ("flows", "tasks"):
            shutil.copytree(ROOT / room, origin.folder / room, ignore=shutil.ignore_patterns("__pycache__"))
        with (origin.folder / "src/generative/models/foundations/mlp.py").open("a") as file:
            file.write(TROUBLE.format(flag=self.flag))
        origin.dvc("remote", "add", "--default", "store", str(folder / "store"))
        commit(origin)
        self.flow, *self.clones = (self.clone(name) for name in ("flow", "one", "two"))
        self.serial = self.clone("serial")
        for clone in self.clones:
            self.hire(clone)

    def clone(self, name: str) -> Workspace:
        subprocess.run(["git", "clone", "-q", self.folder / "origin", self.folder / name], check=True)
        return Workspace((self.folder / name).resolve())

    def run(self, *arguments: str, code: int = 0) -> str:
        return self.flow.run("python", "-m", "flows.catalogue", "--runner", "dask", "--scheduler", self.address, *arguments, code=code)
