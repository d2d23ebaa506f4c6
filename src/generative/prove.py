"""Proves that the catalogue is repeatable: builds it twice from nothing and compares every output.

    python -m generative.prove           what is committed, at the sizes of its params.yaml
    python -m generative.prove --tiny    the same at the sizes of tests/tiny.yaml, in minutes

Each build is a fresh clone with a DVC cache of its own, so that nothing is taken from anywhere. Exit code 0: every output is the same
byte for byte; 1: some are not, and both builds stay to be looked at; 2: a build did not come about.
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
from pathlib import Path

from generative.compare import Build, Comparison, read, report
from generative.errors import UsageError

# What two builds of a person may differ in, they differ in here: the length of the path, the time zone, the language.
BUILDS = {"first": {}, "the_second_build": {"TZ": "Pacific/Auckland", "LC_ALL": "C"}}
TINY = Path("tests/tiny.yaml")
STAGE = re.compile(r"^Running stage '(.+)'", re.MULTILINE)
END = 2000  # characters of a failed command's output that are shown
# Set by a person, these may lead to a cache that both builds share, or hide that code leans on the order of a set.
UNSET = ("DVC_", "PYTHONHASHSEED", "GIT_")


def prove(folder: Path, tiny: bool) -> Comparison:
    """Builds what is committed in the current directory twice, below `folder`.

    Raises:
        UsageError: a build failed, or did not run every stage.
    """
    if changed := _run(Path(), "git", "--no-optional-locks", "status", "--porcelain", "--untracked-files=no").splitlines():
        print(f"Not part of the proof, because not committed: {', '.join(line[3:] for line in changed)}", flush=True)
    first, second = (_build(folder / name, tiny) for name in BUILDS)
    return Comparison(first, second, tolerance=0)


def _build(folder: Path, tiny: bool) -> Build:
    _run(Path(), "git", "clone", "--quiet", ".", str(folder))
    if tiny:
        shutil.copyfile(folder / TINY, folder / "scales" / TINY.name)
        _run(folder, sys.executable, "-m", "generative.scale", TINY.stem)
    (folder / "dvc.lock").unlink(missing_ok=True)  # a committed one must not count as a record of this build
    start = time.monotonic()
    ran = set(STAGE.findall(_run(folder, sys.executable, "-m", "dvc", "repro")))
    build = read(folder / "dvc.lock")
    if missing := build.stages.keys() - ran:
        raise UsageError(f"{folder}: expected that every stage runs, but these did not: {', '.join(sorted(missing))}")
    print(f"{folder.name}: {len(ran)} stages in {time.monotonic() - start:.0f} s", flush=True)
    return build


def _run(folder: Path, *command: str) -> str:
    """What the command prints, in the environment of a build; lines that name a stage are passed on as they come.

    Raises:
        UsageError: it failed; with the end of what it printed.
    """
    output = ""
    with subprocess.Popen(
        command, cwd=folder, env=_environment(folder), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    ) as process:
        for line in process.stdout or ():
            output += line
            if match := STAGE.match(line):
                print(f"{folder.name}: {match[1]}", flush=True)
    if process.returncode:
        raise UsageError(f"{folder.resolve()}: {' '.join(command)} failed:\n{output[-END:].strip()}")
    return output


def _environment(folder: Path) -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith(UNSET)}
    own = folder.resolve() / ".dvc/tmp"
    ours = {
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]),
        "PYTHONPATH": str(folder.resolve() / "src"),
        "GENERATIVE_TRACKING": "off",
        "DVC_NO_ANALYTICS": "1",
        "DVC_GLOBAL_CONFIG_DIR": str(own / "global"),
        "DVC_SYSTEM_CONFIG_DIR": str(own / "system"),
        "DVC_SITE_CACHE_DIR": str(own / "site"),
    }
    return {**kept, **BUILDS.get(folder.name, {}), **ours}


def main() -> int:
    """The exit code of the command line."""
    from generative.stages.command import guarded

    parser = argparse.ArgumentParser(
        prog="python -m generative.prove", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tiny", action="store_true", help=f"at the sizes of {TINY}")
    tiny = parser.parse_args().tiny
    folder = Path(tempfile.mkdtemp(prefix="generative-prove-"))
    different = False

    def work() -> None:
        nonlocal different
        comparison = prove(folder, tiny)
        different = bool(comparison.objections)
        print(f"\n{report(comparison)}")

    code = guarded(work, "prove")
    if code == 0 and different:
        print(f"Both builds stay in {folder}", file=sys.stderr)
    else:
        shutil.rmtree(folder, ignore_errors=True)
    return 2 if code == 1 else code or int(different)


if __name__ == "__main__":
    sys.exit(main())
