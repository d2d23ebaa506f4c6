"""Where the other libraries of a comparison are installed: apart from the project's environment, once. Without them it is left out."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from benchmarks.race import ROOT


def keras_python() -> Path | None:
    """The interpreter of an environment with Keras on TensorFlow, made where it is not there yet; None where that fails."""
    folder, requirements = ROOT / ".venv-keras", ROOT / "benchmarks/requirements-keras.txt"
    python = folder / "bin/python"
    commands = [sys.executable, "-m", "venv", folder], [python, "-m", "pip", "install", "--quiet", "-r", requirements]
    return python if installed("TensorFlow and Keras", folder, requirements, *commands) else None


def unets() -> Path | None:
    """A folder with the U-Nets of diffusers and lucidrains for PYTHONPATH, filled where it is not there yet; None where that fails."""
    folder, requirements = ROOT / ".venv-unets", ROOT / "benchmarks/requirements-unets.txt"
    options = ["--quiet", "--no-deps", "--upgrade", "--target", folder, "-r", requirements]
    return folder if installed("diffusers and denoising-diffusion-pytorch", folder, requirements, pip(*options)) else None


def pip(*options: object) -> list[object]:
    return [sys.executable, "-m", "pip", "install", *options]


def installed(what: str, folder: Path, requirements: Path, *commands: list[object]) -> bool:
    """Whether the folder has what the requirements say; tries the commands that bring it there, and says so where they fail."""
    ready = folder / "ready"
    if ready.exists() and ready.read_text() == requirements.read_text():
        return True
    print(f"Installing {what} into {folder.name} (once) ...", flush=True)
    for command in commands:
        done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
        if done.returncode:
            lines = done.stderr.strip().splitlines() or ["no message"]
            print(f"{what} could not be installed, the comparison is left out: {lines[-1]}")
            print(f"With a network, the next run tries again; by hand: {' '.join(map(str, commands[-1]))}", flush=True)
            return False
    ready.write_text(requirements.read_text())
    return True
