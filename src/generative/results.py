"""Collects the figures of what is built into results/<scale>.csv, each model at the scale at which it stands, and into the README.

    python -m generative.results             data/metrics and data/models to results/<scale>.csv
    python -m generative.results --readme    the same, and results/*.csv to the table between the markers in README.md

Rows of models that are not built now stay as they are. A model that was built from other parameters than params.yaml has now is
left out, because its figures belong to no scale; so is one that was trained and not measured since.

A search at the scale of the book takes hours: its curve is kept as results/curves/book_NAME.csv and drawn as docs/images/NAME_book.png.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from generative import compare, params
from generative.compare import Stage
from generative.errors import UsageError
from generative.files import write_file
from generative.scale import scale_of, scales

COLUMNS = ["name", "data", "figure", "value", "published", "steps", "seconds", "seed", "device", "revision"]
DATA, FOLDER, PUBLISHED, README = Path("data"), Path("results"), Path("scales/published.csv"), Path("README.md")
LARGEST, IMAGES = "book", Path("docs/images")
LOCK = Path("dvc.lock")
START, END = "<!-- results -->", "<!-- /results -->"


def collect() -> None:
    """Writes the figures of what is built, and says what was left out and why."""
    content, recorded = params.read(), record()
    rows: dict[str, list[dict[str, str]]] = {}
    for name, block in content["models"].items():
        built, figures = read_json(DATA / "models" / name / "model.json"), read_json(DATA / "metrics" / name / "figures.json")
        if not built or not figures:
            print(f"{name}: left out, not built; `dvc repro evaluate@{name}` builds it")
        elif built["params"] != block:
            print(f"{name}: left out, built from other parameters than params.yaml has; `dvc repro evaluate@{name}` rebuilds it")
        elif not measured(name, block, recorded):
            print(f"{name}: left out, its figures are of another build; `dvc repro evaluate@{name}` measures it")
        else:
            rows.setdefault(scale := scale_of(name), []).extend(_rows(name, built["params"], figures))
            if scale == LARGEST and "held_out_every" in block:
                _keep_search(name)
    for scale, new in rows.items():
        _merge(scale, new, list(content["models"]))


def published(model: str, data: str) -> dict[str, dict[str, str]]:
    """What was published of a model file on a data set: for each figure its row, with value, steps and source."""
    return {row["figure"]: row for row in _records(PUBLISHED) if (row["model"], row["data"]) == (model, data)}


def training_run(name: str, block: dict[str, Any]) -> dict[str, Any]:
    """The journal of a model's training; empty where there is none, or where the last training was of another block.

    That happens when DVC takes a model from its cache instead of training it again.
    """
    run = read_json(DATA / "runs" / "train" / f"{name}.json")
    return run if run.get("params", block) == block else {}


def record() -> dict[str, Stage]:
    """The stages that DVC knows as done; none where there is no dvc.lock."""
    return compare.read(LOCK).stages if LOCK.exists() else {}


def measured(name: str, block: dict[str, Any], recorded: dict[str, Stage]) -> bool:
    """Whether the figures are of the model that was built from this block, as DVC recorded it or, for stages run by hand, the journal.

    Figures are committed, so they are there before a model is trained again from other parameters.
    """
    trained, evaluated, model = recorded.get(f"train@{name}"), recorded.get(f"evaluate@{name}"), str(DATA / "models" / name)
    if trained and evaluated and trained.outputs.get(model) == evaluated.inputs.get(model):
        values = trained.inputs.get(f"{params.PARAMS_FILE}: models.{name}", "{}")
        if json.loads(values) == block:
            return True
    training, evaluation = (read_json(DATA / "runs" / stage / f"{name}.json") for stage in ("train", "evaluate"))
    return evaluation.get("params") == block and evaluation.get("when", "") >= training.get("when", "")


def readme() -> None:
    """Rewrites the table in README.md.

    Raises:
        UsageError: the README lacks the markers.
    """
    text = README.read_text(encoding="utf-8")
    before, start, rest = text.partition(START)
    _, end, after = rest.partition(END)
    if not start or not end:
        raise UsageError(f"{README}: expected the lines {START} and {END} around the place of the table")
    write_file(README, f"{before}{START}\n{_table()}{END}{after}")


def headline(figures: dict[str, Any]) -> str:
    """The name of the figure that sums a model up."""
    return str(figures.get("figure", ""))


def numbers(figures: dict[str, Any]) -> dict[str, float]:
    """The figures that are numbers, the headline first."""
    found = {key: value for key, value in figures.items() if isinstance(value, int | float) and not isinstance(value, bool)}
    return dict(sorted(found.items(), key=lambda item: item[0] != headline(figures)))


def read_json(path: Path) -> dict[str, Any]:
    """The file's content; empty where there is no such file.

    Raises:
        UsageError: the file is no JSON, or something else than names with values.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path}: not JSON: {error}; `dvc checkout` restores it") from None
    if not isinstance(content, dict):
        raise UsageError(f"{path}: expected names with values, got {type(content).__name__}; `dvc checkout` restores it")
    return content


def _rows(name: str, block: dict[str, Any], figures: dict[str, Any]) -> list[dict[str, str]]:
    run = training_run(name, block)
    common = {key: str(run.get(key, "")) for key in ("seconds", "device", "revision")}
    common |= {"name": name, "data": block["data"], "steps": str(block["steps"]), "seed": str(block["seed"])}
    known = published(block["model"], block["data"])
    return [
        {**common, "figure": figure, "value": f"{value:.6g}", "published": known.get(figure, {}).get("value", "")}
        for figure, value in numbers(figures).items()
    ]


def _keep_search(name: str) -> None:
    """Copies the curve of a search and draws it: what a generation's candidates return, and the model itself on tracks held out."""
    import pandas as pd
    import torch

    from generative.models.exhibit import Lines
    from generative.stages.pictures import draw

    curve = (DATA / "metrics" / name / "curve.csv").read_text(encoding="utf-8")
    write_file(FOLDER / "curves" / f"{LARGEST}_{name}.csv", curve)
    points = pd.read_csv(FOLDER / "curves" / f"{LARGEST}_{name}.csv")

    def line(series: str, term: str) -> tuple[torch.Tensor, torch.Tensor]:
        chosen = points[(points.series == series) & (points.term == term)]
        return torch.tensor(chosen.step.to_numpy()), torch.tensor(chosen.value.to_numpy())

    returns = {"best candidate": line("evolution", "best"), "mean of the candidates": line("evolution", "mean")}
    returns["the model, held-out tracks"] = line("validation", "return")
    panels = [("return", returns), ("step size", {"sigma": line("evolution", "sigma")})]
    IMAGES.mkdir(parents=True, exist_ok=True)
    draw(Lines(f"{name}_{LARGEST}", "", panels, "generation", ""), IMAGES)


def _merge(scale: str, new: list[dict[str, str]], order: list[str]) -> None:
    import pandas as pd

    path = FOLDER / f"{scale}.csv"
    fresh = {row["name"] for row in new}
    rows = [row for row in _records(path) if row["name"] not in fresh] + new
    rows.sort(key=lambda row: (order.index(row["name"]) if row["name"] in order else len(order), row["name"]))
    write_file(path, pd.DataFrame(rows, columns=COLUMNS).to_csv(index=False, lineterminator="\n"))
    print(f"{path}: {', '.join(sorted(fresh, key=order.index))}")


def _records(path: Path) -> list[dict[str, str]]:
    """The rows of a csv file, every cell as it is written; none where there is no such file."""
    import pandas as pd

    if not path.exists():
        return []
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    return [dict(zip(map(str, table.columns), row, strict=True)) for row in table.to_numpy().tolist()]


def _table() -> str:
    # a model's first row is its headline
    tables = {scale: {row["name"]: row for row in reversed(_records(FOLDER / f"{scale}.csv"))} for scale in scales()}
    tables = {scale: rows for scale, rows in tables.items() if rows}
    lines = [f"| model | figure | {' | '.join(tables)} | published |", "|---|---|" + "---|" * (len(tables) + 1)]
    names = list(params.read()["models"])
    names += sorted({name for rows in tables.values() for name in rows} - set(names))
    for name in names:
        there = [rows[name] for rows in tables.values() if name in rows]
        if there:
            reference = next((f"{row['published']} ({row['data']})" for row in reversed(there) if row["published"]), "")
            cells = [_cell(rows[name]) if name in rows else "" for rows in tables.values()]
            lines.append(f"| {' | '.join([name, there[0]['figure'], *cells, reference])} |")
    return "\n".join(lines) + "\n"


def _cell(row: dict[str, str]) -> str:
    time = f", {float(row['seconds']):.0f} s" if row["seconds"] else ""
    return f"{float(row['value']):.4g} ({row['data']}, {int(row['steps']):,} steps{time})"


def main(and_readme: bool) -> None:
    """Collects, and brings the README up to date where asked to."""
    collect()
    if and_readme:
        readme()


if __name__ == "__main__":
    from generative.stages.command import guarded

    parser = argparse.ArgumentParser(
        prog="python -m generative.results", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--readme", action="store_true", help="also write the table in README.md")
    sys.exit(guarded(lambda: main(parser.parse_args().readme), "results"))
