"""A project of its own for a test: the tiny catalogue or a part of it, the real dvc.yaml and a copy of the code, under git and DVC."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable
from contextlib import redirect_stderr
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import psutil
from conftest import ROOT, read_yaml, tiny_catalogue, write_catalogue

from generative.stages.command import guarded

COPIED = ("dvc.yaml", ".dvcignore", ".gitignore")
BIN = Path(sys.executable).parent


@dataclass(frozen=True)
class Workspace:
    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        keep = {key: value for key, value in os.environ.items() if not key.startswith(("DVC_", "GENERATIVE_", "OMP_"))}
        return keep | {
            "PATH": f"{BIN}:{os.environ['PATH']}",
            "PYTHONPATH": str(self.folder / "src"),
            "OMP_NUM_THREADS": "1",
            "GENERATIVE_TRACKING": "off",
            "DVC_SITE_CACHE_DIR": str(self.folder / ".dvc/tmp/site"),
            "DVC_NO_ANALYTICS": "1",
        }

    def start(self, *command: str) -> subprocess.Popen[str]:
        """The command as a process group of its own, its output in one pipe."""
        pipe = subprocess.PIPE
        return subprocess.Popen(
            command, cwd=self.folder, env=self.environment, text=True, stdout=pipe, stderr=subprocess.STDOUT, start_new_session=True
        )

    def run(self, *command: str, code: int | None = 0) -> str:
        """What the command prints; its exit code must be `code` unless that is None."""
        process = self.start(*command)
        output, _ = process.communicate(timeout=900)
        assert code is None or process.returncode == code, output
        return output

    def dvc(self, *arguments: str, code: int | None = 0) -> str:
        return self.run("dvc", *arguments, code=code)

    def change(self, section: str, name: str, **values: Any) -> None:
        content = read_yaml(self.folder / "params.yaml")
        content[section][name].update(values)
        write_catalogue(self.folder, content)

    def read(self, path: str) -> bytes:
        return (self.folder / path).read_bytes()

    def processes(self, word: str) -> list[psutil.Process]:
        """The living processes of this workspace whose command line has the word."""
        return [process for process in psutil.process_iter() if self._is_mine(process, word)]

    def _is_mine(self, process: psutil.Process, word: str) -> bool:
        try:
            mine = Path(process.cwd()) == self.folder and process.status() != psutil.STATUS_ZOMBIE
            return mine and any(word in part for part in process.cmdline())
        except psutil.Error:
            return False


def make(folder: Path, models: Iterable[str] = (), data: Iterable[str] = ()) -> Workspace:
    """The models named, with what they are trained on and judged by; all of the catalogue where none are named."""
    content = tiny_catalogue()
    if models:
        content = _part(content, list(models), set(data))
    folder = folder.resolve()
    shutil.copytree(ROOT / ".dvc", folder / ".dvc", ignore=shutil.ignore_patterns("cache", "tmp", "config.local"))
    for name in COPIED:
        shutil.copyfile(ROOT / name, folder / name)
    shutil.copytree(ROOT / "src/generative", folder / "src/generative", ignore=shutil.ignore_patterns("__pycache__"))
    write_catalogue(folder, content)
    workspace = Workspace(folder)
    workspace.run("git", "init", "-q")
    return workspace


def copy(workspace: Workspace, folder: Path) -> Workspace:
    shutil.copytree(workspace.folder, folder, symlinks=True)
    return Workspace(folder.resolve())


def commit(workspace: Workspace) -> None:
    workspace.run("git", "add", "-A")
    workspace.run("git", "-c", "user.name=test", "-c", "user.email=test@localhost", "commit", "-q", "-m", "test")


def edited(edit: Callable[[dict[str, Any]], object]) -> None:
    """Writes the tiny catalogue, changed by `edit`, into the current directory."""
    content = tiny_catalogue()
    edit(content)
    write_catalogue(Path(), content)


def refused(stage: Callable[..., None], *name: str) -> str:
    """The one message that a stage ends with; what stood in data/ must be as it was."""
    title, before = " ".join([stage.__name__, *name]), snapshot(Path("data"))
    with redirect_stderr(StringIO()) as errors:
        code = guarded(lambda: stage(*name), title)
    message = errors.getvalue()
    assert code == 1, message
    assert message.startswith(f"{title}: ")
    assert message.count("\n") == 1, message
    assert snapshot(Path("data")) == before
    return message.removeprefix(f"{title}: ").strip()


def snapshot(folder: Path) -> dict[str, bytes]:
    """The content of every file below; folders of locks and unfinished work are left out."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files if "work" not in path.relative_to(folder).parts}


def _part(content: dict[str, Any], models: list[str], data: set[str]) -> dict[str, Any]:
    kept = {name: content["models"][name] for name in models}
    encodings = {name: block for name, block in content["encodings"].items() if block["model"] in kept}
    data |= {block["data"] for block in kept.values()} | {block["data"] for block in encodings.values()}
    for name, block in kept.items():
        block["judge"] = block["judge"] if block["judge"] in kept else name
        block["against"] = block["against"] if block["against"] in data else block["data"]
    sources = {name: block for name, block in content["data"].items() if name in data}
    return {"data": sources, "encodings": encodings, "models": kept}
