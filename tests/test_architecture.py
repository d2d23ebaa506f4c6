"""The house keeps its shape: imports point one way, and each library stays in its rooms."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

SOURCE = ROOT / "src/generative"
# A room may import those before it, and its own. `catalogue` resolves names to files of data and models.
ORDER = ["errors", "files", "params", "data", "nn", "models", "catalogue", "training", "metrics", "stages"]
FILES = sorted(path for path in SOURCE.rglob("*.py") if path.relative_to(SOURCE).parts[0].removesuffix(".py") in ORDER)
OURS = [*sorted(SOURCE.rglob("*.py")), *sorted((ROOT / "tasks").glob("*.py")), *sorted((ROOT / "flows").glob("*.py"))]


def imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def room(name: str) -> str | None:
    parts = name.split(".")
    return parts[1] if parts[0] == "generative" and len(parts) > 1 and parts[1] in ORDER else None


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_imports_point_one_way(path: Path) -> None:
    mine = ORDER.index(path.relative_to(SOURCE).parts[0].removesuffix(".py"))
    later = {name for name in imported(path) if (there := room(name)) and ORDER.index(there) > mine}
    assert not later


@pytest.mark.parametrize("path", sorted((SOURCE / "models").glob("*/*.py")), ids=lambda p: str(p.relative_to(SOURCE)))
def test_models_do_not_import_sibling_models(path: Path) -> None:
    families = {folder.name for folder in (SOURCE / "models").iterdir() if folder.is_dir()}
    assert not {name for name in imported(path) if name.startswith("generative.models.") and name.split(".")[2] in families}


@pytest.mark.parametrize(
    ("library", "rooms"),
    [
        ("prefect", ("tasks/", "flows/")),
        ("mlflow", ("src/generative/training/", "src/generative/stages/")),
        ("pickle", ("src/generative/data/real/cifar.py", "src/generative/training/checkpoint.py")),
    ],
)
def test_a_library_stays_in_its_rooms(library: str, rooms: tuple[str, ...]) -> None:
    users = [str(path.relative_to(ROOT)) for path in OURS if any(name.split(".")[0] == library for name in imported(path))]
    assert users
    assert not [user for user in users if not user.startswith(rooms)]


def test_models_know_neither_files_nor_devices() -> None:
    for path in (SOURCE / "models").glob("*/*.py"):
        assert not {"pathlib", "os", "io"} & imported(path), path


def test_asking_a_stage_for_help_imports_nothing_heavy() -> None:
    script = (
        "import sys, runpy\nsys.argv = ['train', '--help']\n"
        "try:\n    runpy.run_module('generative.stages.train', run_name='__main__')\n"
        "except SystemExit:\n    pass\n"
        "print(sorted({'torch', 'mlflow', 'pydantic', 'matplotlib', 'prefect', 'numpy'} & set(sys.modules)))"
    )
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert answer.strip().endswith("[]")
