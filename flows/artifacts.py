"""What Prefect's pages show of a run: the pictures of the models that it sampled, their figures, and where MLflow has its runs."""

from __future__ import annotations

import base64
import json
import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote
from urllib.request import urlopen

from flows.scheduler import Result
from generative.files import PICTURES, exhibit_file
from generative.results import DATA, numbers, read_json

MLFLOW = "http://127.0.0.1:5000"  # where `make ui` shows the runs


def publish(results: list[Result]) -> None:
    """Attach to the flow's run what its stages made; stages that were up to date made nothing."""
    from prefect.artifacts import create_markdown_artifact, create_table_artifact

    made = [result.stage.split("@", 1) for result in results if result.outcome in ("ran", "cached") and "@" in result.stage]
    for stage, name in made:
        if stage == "sample" and (pictures := samples(name)):
            create_markdown_artifact(pictures, f"samples-{_key(name)}", f"What {name} makes")
    if rows := [row for stage, name in made if stage == "evaluate" for row in figures(name)]:
        create_table_artifact(rows, "figures", "Figures of the test split")
    ran = [result.stage for result in results if result.outcome == "ran" and "@" in result.stage]
    if ran and os.environ.get("GENERATIVE_TRACKING") != "off":
        create_markdown_artifact(runs(ran), "mlflow-runs", "The same stages in MLflow, with parameters and curves")


def samples(name: str) -> str:
    """The pictures of one model with their captions, as one text that needs no other file."""
    parts = [f"# {name}"]
    for file, caption in read_json(DATA / "samples" / f"{name}.json").items():
        path = exhibit_file(name, file)
        parts.append(f"## {path.stem.replace('_', ' ')}\n\n{caption}\n\n{_shown(path)}")
    return "\n\n".join(parts) if len(parts) > 1 else ""


def _shown(path: Path) -> str:
    if path.suffix in PICTURES:
        return f"![{path.stem}](data:image/{path.suffix[1:]};base64,{base64.b64encode(path.read_bytes()).decode()})"
    if path.suffix in (".txt", ".csv"):
        return "```\n" + path.read_text(encoding="utf-8") + "```"
    return f"`{path}`"


def figures(name: str) -> list[dict[str, Any]]:
    """One row a figure of one model, the headline first."""
    measured = numbers(read_json(DATA / "metrics" / name / "figures.json"))
    return [{"model": name, "figure": figure, "value": value} for figure, value in measured.items()]


def runs(stages: list[str]) -> str:
    """Where MLflow shows the runs of these stages, the newest first."""
    store = os.environ.get("MLFLOW_TRACKING_URI", "sqlite:///mlflow.db")
    server = store.rstrip("/") if store.startswith("http") else MLFLOW
    start = "" if store.startswith("http") else "`make ui` shows them at "
    experiment = _experiment(store)
    lines = [f"{start}[{server}]({server}). A run has the name of its stage; runs of one flow stand under one parent.\n"]
    for stage in stages:
        wanted = quote(f"attributes.run_name = '{stage}'", safe="")
        lines.append(f"* [{stage}]({server}/#/experiments/{experiment}/runs?searchFilter={wanted})" if experiment else f"* {stage}")
    return "\n".join(lines) + "\n"


def _experiment(store: str) -> str:
    """The number that the store gave our experiment; empty where it has none yet or does not answer at once."""
    try:
        if store.startswith("http"):
            with urlopen(f"{store}/api/2.0/mlflow/experiments/get-by-name?experiment_name=generative", timeout=2) as answer:
                return json.load(answer)["experiment"]["experiment_id"]
        file = Path(store.removeprefix("sqlite:///")).resolve()
        with closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True, timeout=2)) as database:
            return str(database.execute("select experiment_id from experiments where name = 'generative'").fetchone()[0])
    except (OSError, ValueError, sqlite3.Error, TypeError):
        return ""


def _key(name: str) -> str:
    return name.replace("_", "-")  # Prefect takes lower-case letters, digits and dashes
