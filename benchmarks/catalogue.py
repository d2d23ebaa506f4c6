"""The whole catalogue from nothing: the flow beside a serial `dvc repro`, each in its own workspace, and a flow with nothing to do.

The flow's own time is that in which no stage is at work: before the first, after the last, and between. Both run one thread a process
and note their runs down without delivering them; Prefect's database exists before, as it does after the first flow of a workspace.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

from ruamel.yaml import YAML

from benchmarks.race import ROOT, environment

ROOMS = ("src/generative", "flows", "tasks", ".dvc/plots")
FILES = ("dvc.yaml", "params.yaml", ".dvcignore", ".gitignore", ".dvc/config")
_ENDED = re.compile(r"\S+ ran after ([\d.]+) s")
_CHECKED = re.compile(r"check +ran +([\d.]+)")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.catalogue", description=__doc__)
    parser.add_argument("--workers", type=int, default=2, metavar="N")
    parser.add_argument("--overlay", type=Path, metavar="FILE", help="sizes to put over params.yaml, such as tests/tiny.yaml")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        compare(Path(folder), arguments.workers, arguments.overlay)


def compare(folder: Path, workers: int = 2, overlay: Path | None = None) -> dict[str, float]:
    """Builds the catalogue twice below `folder`, prints and returns the seconds."""
    serial, parallel = (workspace(folder / name, overlay) for name in ("serial", "parallel"))
    flow = ["-m", "flows.catalogue", "--workers", str(workers)]
    subprocess.run(
        [sys.executable, "-m", "prefect", "server", "database", "upgrade", "-y"], check=True, env=variables(parallel), capture_output=True
    )
    times = {"dvc repro": timed(["-m", "dvc", "repro"], serial)[0]}
    times["flow"], lines = timed(flow, parallel)
    times["of that its own"] = times["flow"] - covered(spans(lines))
    times["nothing to do"] = timed(flow, parallel)[0]
    print(f"\nThe catalogue from nothing, {workers} workers on {os.cpu_count()} cores: seconds")
    for what, seconds in times.items():
        print(f"  {what:14s}{seconds:8.1f}")
    print(f"  the flow takes {times['flow'] / times['dvc repro']:.2f} of the serial time (target on 2 cores: at most 0.6)")
    print(f"  its own time is {100 * times['of that its own'] / times['flow']:.1f} % of it (target: at most 5)")
    print(f"  with nothing to do it answers within {times['nothing to do']:.1f} s (target: 7)", flush=True)
    return times


def workspace(folder: Path, overlay: Path | None) -> Path:
    """A copy of what a run needs, under git and DVC, with nothing built."""
    for room in ROOMS:
        shutil.copytree(ROOT / room, folder / room, ignore=shutil.ignore_patterns("__pycache__"))
    for file in FILES:
        shutil.copyfile(ROOT / file, folder / file)
    if overlay:
        yaml = YAML()
        content, over = (yaml.load(path.read_text()) for path in (folder / "params.yaml", overlay))
        for section, blocks in over.items():
            for name, block in blocks.items():
                content[section][name].update(block)
        yaml.dump(content, folder / "params.yaml")
    subprocess.run(["git", "init", "-q"], cwd=folder, check=True)
    return folder


def variables(folder: Path) -> dict[str, str]:
    ours = {
        "PYTHONPATH": f"{folder / 'src'}{os.pathsep}{folder}",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PREFECT_HOME": str(folder / ".prefect"),
        "DVC_SITE_CACHE_DIR": str(folder / ".dvc/tmp/site"),
        "DVC_NO_ANALYTICS": "1",
    }
    return {key: value for key, value in environment().items() if key != "PREFECT_API_URL"} | ours


Lines = list[tuple[float, str]]  # seconds since the start, and what was printed then


def timed(words: list[str], folder: Path) -> tuple[float, Lines]:
    """Seconds until the command has ended well, and its lines."""
    began, lines = time.perf_counter(), Lines()
    pipe = subprocess.PIPE
    with subprocess.Popen(
        [sys.executable, *words], cwd=folder, env=variables(folder), text=True, stdout=pipe, stderr=subprocess.STDOUT
    ) as process:
        for line in process.stdout or ():
            lines.append((time.perf_counter() - began, line.rstrip()))
    seconds = time.perf_counter() - began
    if process.returncode:
        raise RuntimeError(f"{' '.join(words)}: ended with {process.returncode}\n" + "\n".join(line for _, line in lines[-20:]))
    return seconds, lines


def spans(lines: Lines) -> Iterable[tuple[float, float]]:
    """When each stage began and ended. The check runs before the plan is told, so its end is when that is printed."""
    planned = next((moment for moment, line in lines if "stages to do" in line), 0.0)
    for moment, line in lines:
        if match := _ENDED.match(line):
            yield moment - float(match[1]), moment
        elif match := _CHECKED.match(line):
            yield planned - float(match[1]), planned


def covered(intervals: Iterable[tuple[float, float]]) -> float:
    """The length of the union of intervals."""
    total, until = 0.0, 0.0
    for begin, end in sorted(intervals):
        total += max(end - max(begin, until), 0.0)
        until = max(until, end)
    return total


if __name__ == "__main__":
    main()
