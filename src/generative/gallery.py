"""One self-contained page of the whole catalogue as it is built: samples, curves, figures, parameters.

python -m generative.gallery    writes gallery.html
"""

from __future__ import annotations

import argparse
import ast
import html
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from generative import params
from generative.chart import charts
from generative.compare import Stage
from generative.exhibited import exhibit
from generative.files import exhibit_file, write_file
from generative.results import DATA, headline, measured, numbers, published, read_json, record, training_run
from generative.scale import scale_of

PAGE = Path("gallery.html")
HERE = Path(__file__).parent
WIDE = 1.9  # a picture of this width to height, or wider, gets a row of its own
BASELINES = {"floor": "real images", "untrained": "untrained"}  # what a figure named FIGURE_floor is beside FIGURE


@dataclass(frozen=True)
class Entry:
    """A model of the catalogue with everything that its stages left; what is not built is empty."""

    name: str
    block: dict[str, Any]
    built: dict[str, Any]
    figures: dict[str, Any]
    run: dict[str, Any]

    @classmethod
    def read(cls, name: str, block: dict[str, Any], recorded: dict[str, Stage]) -> Entry:
        built = read_json(DATA / "models" / name / "model.json")
        current = measured(name, built.get("params", block), recorded)
        figures = read_json(DATA / "metrics" / name / "figures.json") if current else {}
        return cls(name, block, built, figures, training_run(name, built.get("params", block)))

    @property
    def family(self) -> str:
        return str(self.block["model"]).partition("/")[0]

    @property
    def params(self) -> dict[str, Any]:
        """What it was built from, else what it would be built from."""
        return self.built.get("params", self.block)


def gallery() -> None:
    """Writes the page; what is not built yet is there with the command that builds it."""
    recorded = record()
    entries = [Entry.read(name, block, recorded) for name, block in params.read()["models"].items()]
    families: dict[str, list[Entry]] = {}
    for entry in entries:
        families.setdefault(entry.family, []).append(entry)
    sections = "".join(
        f"<section><h2>{_title(family)}</h2>{''.join(_article(entry) for entry in members)}</section>"
        for family, members in families.items()
    )
    write_file(
        PAGE,
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>Gallery of generative models</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{(HERE / 'gallery.css').read_text(encoding='utf-8')}</style></head>\n"
        f'<body><div class="page"><nav aria-label="Models">{_contents(families)}</nav><main>{_header(entries)}{sections}'
        "</main></div></body></html>\n",
    )
    print(f"{PAGE}: {sum(bool(entry.built) for entry in entries)} of {len(entries)} models")


def about(model: str) -> tuple[str, bool]:
    """The first paragraph of a model file's docstring, and whether its figure is better when larger; read without running it."""
    file = HERE / "models" / f"{model}.py"
    if not file.exists():
        return "", False
    tree = ast.parse(file.read_text(encoding="utf-8"))
    assigned = [node for node in ast.walk(tree) if isinstance(node, ast.Assign | ast.AnnAssign)]
    larger = any("larger_is_better = True" in ast.unparse(node) for node in assigned)
    return " ".join((ast.get_docstring(tree) or "").partition("\n\n")[0].split()), larger


def duration(seconds: float) -> str:
    """Seconds as a person says them."""
    if seconds < 60:
        return f"{seconds:.3g} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def _contents(families: dict[str, list[Entry]]) -> str:
    parts = []
    for family, members in families.items():
        links = "".join(f'<a href="#{e.name}"><span>{e.name}</span><span>{_value(e)}</span></a>' for e in members)
        parts.append(f"<section><h2>{_title(family)}</h2>{links}</section>")
    return "".join(parts)


def _header(entries: list[Entry]) -> str:
    seconds = sum(float(entry.run.get("seconds", 0)) for entry in entries)
    built = sum(bool(entry.built) for entry in entries)
    said = f"{built} of {len(entries)} models are built" if built < len(entries) else f"{built} models"
    time = f", trained in {duration(seconds)}" if seconds else ""
    newest = max((str(entry.run.get("when", ""))[:10] for entry in entries), default="")
    return (
        "<header><h1>A gallery of generative models</h1><p class=intro>What each model of the catalogue makes, "
        f"how well it does it, and how it was trained. {said}{time}{f'; the last on {newest}' if newest else ''}.</p></header>"
    )


def _article(entry: Entry) -> str:
    text, larger = about(str(entry.params["model"]))
    value = _value(entry)
    arrow = f'<span title="{"larger" if larger else "smaller"} is better">{"↑" if larger else "↓"}</span>'
    best = f"<p class=headline>{_name(headline(entry.figures))} {arrow} <b>{value}</b></p>" if value else ""
    parts = [f'<div class=title><h3><a href="#{entry.name}">{entry.name}</a></h3>{best}</div>']
    text = re.sub("`([^`]+)`", r"<code>\1</code>", html.escape(text))
    parts.append(f"<p class=about>{text}</p>")
    parts += [_facts(entry), _notes(entry), _samples(entry.name)]
    parts += [f"<div class=measured>{_curves(entry.name)}{_figures(entry)}</div>", _details(entry)]
    return f'<article id="{entry.name}">{"".join(parts)}</article>'


def _facts(entry: Entry) -> str:
    run, block = entry.run, entry.params
    steps = f"{block['steps']:,} steps" + (f" in {duration(float(run['seconds']))}" if run.get("seconds") else "")
    facts = [f"<code>{block['model']}</code>", f"on {block['data']}", steps, run.get("device", "")]
    facts += [f"seed {block['seed']}", f"scale {scale_of(entry.name)}" if block == entry.block else ""]
    facts += [f"revision <code>{html.escape(run['revision'])}</code>"] if run.get("revision") else []
    return f"<p class=facts>{' '.join(f'<span>{fact}</span>' for fact in facts if fact)}</p>"


def _notes(entry: Entry) -> str:
    """What is not built yet, or not from what params.yaml says now, with the command that mends it."""
    folder = DATA / "samples" / entry.name
    if not entry.built:
        return _note("Not built yet.", f"dvc repro evaluate@{entry.name} sample@{entry.name}")
    if entry.built.get("params") != entry.block:
        return _note("Built from other parameters than params.yaml has now.", f"dvc repro evaluate@{entry.name} sample@{entry.name}")
    missing = [] if entry.figures else [_note("Not measured yet.", f"dvc repro evaluate@{entry.name}")]
    missing += [] if folder.exists() else [_note("No samples yet.", f"dvc repro sample@{entry.name}")]
    return "".join(missing)


def _note(message: str, command: str) -> str:
    return f"<p class=note>{message} This builds it: <code>{command}</code></p>"


def _samples(name: str) -> str:
    captions = read_json(DATA / "samples" / f"{name}.json")
    shown = [exhibit(f"{name}: {Path(file).stem}", exhibit_file(name, file)) for file in captions]
    figures = []
    for caption, (body, _), place in zip(captions.values(), shown, _places([size for _, size in shown]), strict=True):
        figures.append(f'<figure class="{place}">{body}<figcaption>{html.escape(caption)}</figcaption></figure>')
    return f"<div class=samples>{''.join(figures)}</div>" if figures else ""


def _places(sizes: list[tuple[int, int]]) -> list[str]:
    """Two pictures a row, a wide one in a row of its own, and one that is left over with its caption beside it."""
    places: list[str] = []
    for width, height in sizes:
        if width >= WIDE * height:
            places.append("wide")
        elif places and places[-1] == "alone":
            places[-1:] = ["half", "half"]
        else:
            places.append("alone")
    return places


def _curves(name: str) -> str:
    import pandas as pd

    path = DATA / "metrics" / name / "curve.csv"
    if not path.exists():
        return ""
    lines = pd.read_csv(path)
    wide = lines.assign(name=lines.series + "/" + lines.term).pivot(index="step", columns="name", values="value").reset_index()
    return f"<section><h4>Training</h4><div class=charts>{''.join(charts(wide))}</div></section>"


def _figures(entry: Entry) -> str:
    measured = numbers(entry.figures)
    beside = {f"{figure}_{kind}": kind for figure in measured for kind in BASELINES if f"{figure}_{kind}" in measured}
    kinds = [kind for kind in BASELINES if kind in beside.values()]
    known = published(entry.params["model"], entry.params["data"])
    rows = []
    for figure, value in measured.items():
        if figure in beside or isinstance(value, int):
            continue
        cells = [_number(value), *(_number(measured.get(f"{figure}_{kind}")) for kind in kinds)]
        cells += [_number(known.get(figure, {}).get("value"))] if known else []
        columns = "".join(f"<td class=number>{cell}</td>" for cell in cells)
        columns += f"<td class=source>{_source(known.get(figure))}</td>" if known else ""
        main = " class=main" if figure == headline(entry.figures) else ""
        rows.append(f"<tr{main}><th>{_name(figure)}</th>{columns}</tr>")
    if not rows:
        return ""
    heads = ["this model", *(BASELINES[kind] for kind in kinds), *(["published"] if known else [])]
    head = "<th></th>" + "".join(f"<th class=number>{text}</th>" for text in heads) + ("<th></th>" if known else "")
    said = {k: v for k, v in entry.figures.items() if k != "figure" and isinstance(v, str | int)}
    facts = " ".join(f"<span>{_name(key)} {html.escape(str(value))}</span>" for key, value in said.items())
    body = f"<div class=scroll><table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    return f"<section><h4>Figures on the test split</h4>{body}<p class=facts>{facts}</p></section>"


def _source(row: dict[str, str] | None) -> str:
    return f"{int(row['steps']):,} steps; {html.escape(row['source'])}" if row else ""


def _details(entry: Entry) -> str:
    info, data = entry.built.get("info", {}), entry.params["data"]
    parts = [_fold("Parameters", {key: _plain(value) for key, value in entry.params.items()})]
    if info:
        facts = {"kind": info["kind"], "shape of an example": " × ".join(map(str, info["shape"]))}
        facts |= {f"{split} examples": f"{count:,}" for split, count in info["counts"].items()}
        facts |= {f"{len(info['classes'])} classes": ", ".join(info["classes"])} if info["classes"] else {}
        facts |= {"attributes": ", ".join(info["attributes"])} if info["attributes"] else {}
        facts |= {"notes": "; ".join(info["notes"])} if info["notes"] else {}
        parts.append(_fold(f"Data: {data}", {**facts, "fingerprint": info["fingerprint"][:16]}))
    return "".join(parts)


def _fold(title: str, facts: dict[str, str]) -> str:
    rows = "".join(f"<tr><th>{_name(key)}</th><td>{html.escape(value)}</td></tr>" for key, value in facts.items())
    return f"<details><summary>{html.escape(title)}</summary><table><tbody>{rows}</tbody></table></details>"


def _value(entry: Entry) -> str:
    return _number(entry.figures.get(headline(entry.figures)))


def _number(value: Any) -> str:
    return "" if value in (None, "") else f"{float(value):.4g}".replace("-", "−")


def _plain(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _name(key: str) -> str:
    return html.escape(key.replace("_", " "))


def _title(family: str) -> str:
    return html.escape(family.replace("_", " ").capitalize())


if __name__ == "__main__":
    from generative.stages.command import guarded

    argparse.ArgumentParser(
        prog="python -m generative.gallery", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    sys.exit(guarded(gallery, "gallery"))
