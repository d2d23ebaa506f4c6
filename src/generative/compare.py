"""Compares two builds by their records (dvc.lock): which outputs are the same byte for byte, and how far the figures lie apart.

    python -m generative.compare dvc.lock ../other/dvc.lock
    python -m generative.compare dvc.lock ../other/dvc.lock --tolerance 0.01
    python -m generative.compare dvc.lock ../other/dvc.lock --tolerance 0     every output must be the same

The figures are read beside each record: data/metrics/*/figures.json, or DVC's cache there. Exit code 0: all outputs are identical, or
the figures lie within the tolerance; 1: they lie beyond it, or cannot be compared; 2: a record is missing or damaged.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from generative.errors import UsageError

FIGURES = "figures.json"
TOLERANCE = 0.05
SMALL = 0.1  # figures nearer to 0 than this are measured by it: relative to a figure that should be 0, no difference is small


@dataclass(frozen=True)
class Stage:
    inputs: dict[str, str]  # what it was made from: hashes by path, values by block, the command
    outputs: dict[str, str]  # hashes by path


@dataclass(frozen=True)
class Build:
    """What a dvc.lock says."""

    path: Path
    stages: dict[str, Stage]

    def figures(self, path: str, digest: str) -> dict[str, Any] | None:
        """The figures with this hash, from where they belong or from DVC's cache; None where neither has them."""
        for place in (self.path.parent / path, self.path.parent / ".dvc/cache/files/md5" / digest[:2] / digest[2:]):
            content = place.read_bytes() if place.is_file() else b""
            if hashlib.md5(content, usedforsecurity=False).hexdigest() == digest:
                return _figures(content, place)
        return None


@dataclass(frozen=True)
class Output:
    """One output in both builds; a hash is empty where a build has no such output."""

    stage: str
    path: str
    first: str
    second: str

    @property
    def same(self) -> bool:
        return self.first == self.second


@dataclass(frozen=True)
class Figure:
    """One figure in both builds; a value is None where a build has no such figure."""

    model: str
    name: str
    first: Any
    second: Any

    @cached_property
    def apart(self) -> float:
        """The difference relative to the larger value; infinite where the two cannot be compared."""
        first, second = self.first, self.second
        if first == second or (self.name == "judge" and _judge(first) == _judge(second)):
            return 0.0
        if not (_is_number(first) and _is_number(second)):
            return math.inf
        if math.isnan(first) and math.isnan(second):
            return 0.0
        apart = abs(first - second) / max(abs(first), abs(second), SMALL)
        return apart if math.isfinite(apart) else math.inf


@dataclass(frozen=True)
class Comparison:
    first: Build
    second: Build
    tolerance: float  # relative; 0 asks for identical outputs

    @cached_property
    def outputs(self) -> list[Output]:
        found = [(name, path) for build in (self.first, self.second) for name, stage in build.stages.items() for path in stage.outputs]
        return [Output(*place, *(_output(build, *place) for build in (self.first, self.second))) for place in dict.fromkeys(found)]

    @cached_property
    def different(self) -> list[Output]:
        """Where the difference begins comes first: the same inputs, and yet another result."""
        return sorted((output for output in self.outputs if not output.same), key=lambda output: bool(self._other_inputs(output)))

    @cached_property
    def _figures(self) -> tuple[list[Figure], list[str]]:
        """The figures of both builds, and the paths of those that are not at hand though they differ."""
        figures, missing = [], []
        for output in self.outputs:
            if Path(output.path).name == FIGURES and output.first and output.second:
                first, second = (self.first.figures(output.path, output.first), self.second.figures(output.path, output.second))
                if output.same:
                    first = second = first or second or {}
                if first is None or second is None:
                    missing.append(output.path)
                    continue
                model = Path(output.path).parent.name
                figures += [Figure(model, name, first.get(name), second.get(name)) for name in first | second]
        return figures, missing

    @property
    def figures(self) -> list[Figure]:
        return self._figures[0]

    @cached_property
    def objections(self) -> list[str]:
        """Why the builds do not count as equal; empty where they do."""
        if not self.different:
            return []
        if self.tolerance == 0:
            return [f"{len(self.different)} of {len(self.outputs)} outputs differ"]
        alone = [output.path for output in self.different if not (output.first and output.second)]
        beyond = [f"{figure.model} {figure.name}" for figure in self.figures if figure.apart > self.tolerance]
        found = [f"only one build has {', '.join(alone)}"] if alone else []
        found += [f"beyond tolerance: {', '.join(beyond)}"] if beyond else []
        found += [f"not at hand beside its dvc.lock: {', '.join(self._figures[1])}"] if self._figures[1] else []
        return found or ([] if self.figures else ["outputs differ and there are no figures to judge them by"])

    def why(self, output: Output) -> str:
        if not (output.first and output.second):
            return f"only in the {'first' if output.first else 'second'}"
        others = self._other_inputs(output)
        return f"from other {', '.join(others)}" if others else "same inputs, another result"

    def _other_inputs(self, output: Output) -> list[str]:
        first, second = (build.stages[output.stage].inputs if output.stage in build.stages else {} for build in (self.first, self.second))
        others = [key for key in first | second if first.get(key) != second.get(key)]
        return [key for key in others if not any(key.startswith(f"{folder}/") for folder in others)]


def read(path: Path) -> Build:
    """Raises: UsageError: no such file, or no record of DVC's."""
    from ruamel.yaml import YAML, YAMLError

    try:
        content = YAML(typ="safe").load(path.read_text(encoding="utf-8"))
        return Build(path, {name: _stage(record) for name, record in content["stages"].items()})
    except FileNotFoundError:
        raise UsageError(f"{path}: no such file; `dvc repro` writes it") from None
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from None
    except (YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: not YAML: {' '.join(str(error).split())}") from None
    except (KeyError, TypeError, AttributeError):
        raise UsageError(f"{path}: expected a dvc.lock: stages, each with its outs and their hashes") from None


def report(comparison: Comparison, everything: bool = False) -> str:
    """What is identical, what differs and by how much, and a last line that says what it comes to.

    Args:
        everything: also a line for each output and figure that is identical.
    """
    outputs = comparison.outputs if everything else comparison.different
    figures = [figure for figure in comparison.figures if everything or figure.first != figure.second]
    parts = [
        f"first   {comparison.first.path}\nsecond  {comparison.second.path}",
        _table(["stage", "outputs", "identical"], _kinds(comparison)),
    ]
    if outputs:
        rows = [[o.stage, o.path, o.first[:8], o.second[:8], "" if o.same else comparison.why(o)] for o in outputs]
        parts.append(_table(["stage", "output", "first", "second", "why"], rows))
    if figures:
        rows = [[f.model, f.name, _cell(f.first), _cell(f.second), *_verdict(f, comparison.tolerance)] for f in figures]
        parts.append(_table(["model", "figure", "first", "second", "apart", "verdict"], rows))
    return "\n\n".join([*parts, _conclusion(comparison)])


def _conclusion(comparison: Comparison) -> str:
    count, different = len(comparison.outputs), len(comparison.different)
    if not different:
        return f"Identical: all {count} outputs of {len(comparison.first.stages)} stages."
    if comparison.objections:
        return f"Different: {'; '.join(comparison.objections)}."
    largest = max(figure.apart for figure in comparison.figures)
    return (
        f"Within tolerance: {different} of {count} outputs differ, "
        f"but the {len(comparison.figures)} figures by {largest:.2%} at most, of {comparison.tolerance:.2%} allowed."
    )


def _kinds(comparison: Comparison) -> list[list[str]]:
    """A row for each kind of stage: its name, its outputs, how many of them are identical."""
    kinds: dict[str, list[Output]] = {}
    for output in comparison.outputs:
        kinds.setdefault(output.stage.partition("@")[0], []).append(output)
    return [[kind, str(len(outputs)), str(sum(output.same for output in outputs))] for kind, outputs in kinds.items()]


def _verdict(figure: Figure, tolerance: float) -> tuple[str, str]:
    if figure.first == figure.second:
        return "", "identical"
    return f"{figure.apart:.2%}" if math.isfinite(figure.apart) else "", "beyond" if figure.apart > tolerance else "within"


def _cell(value: Any) -> str:
    return "" if value is None else str(value)


def _table(head: list[str], rows: list[list[str]]) -> str:
    """Markdown that is also legible on a terminal."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    lines = [head, ["-" * width for width in widths], *rows]
    return "\n".join(f"| {' | '.join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))} |" for line in lines)


def _stage(record: dict[str, Any]) -> Stage:
    inputs = {"command": str(record["cmd"])} | _hashes(record.get("deps", []))
    for file, values in record.get("params", {}).items():
        inputs |= {f"{file}: {key}": json.dumps(value, sort_keys=True, default=str) for key, value in values.items()}
    return Stage(inputs, _hashes(record.get("outs", [])))


def _hashes(entries: list[dict[str, Any]]) -> dict[str, str]:
    return {str(entry["path"]): str(entry[entry.get("hash", "md5")]) for entry in entries}


def _output(build: Build, stage: str, path: str) -> str:
    return build.stages[stage].outputs.get(path, "") if stage in build.stages else ""


def _figures(content: bytes, path: Path) -> dict[str, Any]:
    try:
        figures = json.loads(content)
    except ValueError as error:
        raise UsageError(f"{path}: not JSON: {error}") from None
    if not isinstance(figures, dict):
        raise UsageError(f"{path}: expected figures by name, got {type(figures).__name__}")
    return figures


def _judge(value: Any) -> str:
    """The judge's name; the hash of its weights follows it, and is reported with the outputs."""
    return str(value).partition(" ")[0]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _tolerance(text: str) -> float:
    value = float(text)
    if not 0 <= value < math.inf:
        raise ValueError
    return value


def main() -> int:
    """The exit code of the command line."""
    from generative.stages.command import guarded

    parser = argparse.ArgumentParser(
        prog="python -m generative.compare", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("first", type=Path, help="a dvc.lock")
    parser.add_argument("second", type=Path, help="another")
    parser.add_argument("--tolerance", type=_tolerance, default=TOLERANCE, help=f"relative, of the figures (default {TOLERANCE})")
    parser.add_argument("--all", action="store_true", help="also list what is identical")
    arguments = parser.parse_args()
    objections: list[str] = []

    def work() -> None:
        comparison = Comparison(read(arguments.first), read(arguments.second), arguments.tolerance)
        objections.extend(comparison.objections)
        print(report(comparison, arguments.all))

    code = guarded(work, "compare")
    return 2 if code == 1 else code or int(bool(objections))


if __name__ == "__main__":
    sys.exit(main())
