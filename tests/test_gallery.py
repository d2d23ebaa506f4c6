"""The gallery shows what is built, says how to build what is not, and needs nothing but itself."""

from __future__ import annotations

import base64
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from PIL import Image

from generative import gallery
from generative.chart import charts
from generative.errors import UsageError

PARAMS = """data:
  glyphs: {source: drawn/glyphs, seed: 1, validation: 10}
encodings: {}
models:
  mlp: {model: foundations/mlp, data: glyphs, judge: mlp, seed: 7, steps: 100}
  vae: {model: autoencoders/vae, data: glyphs, judge: mlp, seed: 8, steps: 1200, channels: [32, 64]}
"""
VAE = {"model": "autoencoders/vae", "data": "glyphs", "judge": "mlp", "seed": 8, "steps": 1200, "channels": [32, 64]}
INFO = {
    "name": "glyphs", "kind": "images", "shape": [1, 32, 32], "classes": ["A", "<B>"], "attributes": [], "values": {}, "vocabulary": {},
    "counts": {"train": 20000, "validation": 10, "test": 5}, "fingerprint": "f" * 64, "notes": [],
}  # fmt: skip
FIGURES = {"figure": "loss", "kl": 5.5, "loss": 120.349, "fid": 131.0, "fid_floor": 0.4, "compared": 5000, "judge": "mlp 01"}
CURVE = """step,series,term,value
20,elbo,loss,300
20,elbo,kl,9
40,elbo,loss,200
40,elbo,kl,8
40,validation,loss,210
60,elbo,loss,150
60,validation,loss,160
"""


class Page(HTMLParser):
    """Checks that every element is closed, and keeps what refers to something outside the page."""

    void = ("meta", "img", "path", "use", "rect")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.outside: list[str] = []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.outside += [v for k, v in attrs if k in ("src", "href") and v and not v.startswith(("#", "data:"))]
        if tag in ("script", "link", "iframe"):
            self.outside.append(tag)
        if tag not in self.void:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.outside += [v for k, v in attrs if k in ("src", "href", "xlink:href") and v and not v.startswith(("#", "data:"))]

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.void:
            assert self.open.pop() == tag


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text(PARAMS)
    Path("scales").mkdir()
    Path("scales/published.csv").write_text("model,data,figure,value,steps,source\nautoencoders/vae,glyphs,loss,135.29,3000,a <notebook>\n")


def build(name: str, **files: Any) -> None:
    for path, content in files.items():
        file = Path("data") / path.replace("__", "/").replace("NAME", name)
        file = file.with_suffix(".csv" if path.endswith("curve") else ".json")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content if isinstance(content, str) else json.dumps(content))


def build_vae() -> None:
    build(
        "vae",
        models__NAME__model={"model": VAE["model"], "params": VAE, "info": INFO},
        metrics__NAME__figures=FIGURES,
        runs__evaluate__NAME={"params": VAE, "when": "2026-01-02T04:00:00+00:00"},
        metrics__NAME__curve=CURVE,
        samples__NAME={"samples.png": "Drawn from the prior <here>.", "latent.png": "The plane.", "grid.png": "A grid."},
        runs__train__NAME={
            "seconds": 104.6,
            "device": "a CPU, 1 thread",
            "revision": "abc123",
            "when": "2026-01-02T03:04:05+00:00",
        },
    )
    Path("data/samples/vae").mkdir()
    for exhibit, size in {"samples": (200, 50), "latent": (60, 60), "grid": (60, 60)}.items():
        Image.new("L", size).save(f"data/samples/vae/{exhibit}.png")


def page() -> str:
    gallery.gallery()
    text = Path("gallery.html").read_text()
    assert Page(text).outside == []
    return text


def article(text: str, name: str) -> str:
    return re.sub("<svg.*?</svg>", "", text[text.index(f'<article id="{name}">') :].partition("</article>")[0], flags=re.S)


def test_a_built_model_is_shown_whole() -> None:
    build_vae()
    text = page()
    shown = article(text, "vae")
    assert "The variational autoencoder (Kingma and Welling 2013" in shown and "smaller is better" in shown
    assert '<tr class="main"' in shown.replace("class=main", 'class="main"') and "135.3" in shown and "a &lt;notebook&gt;" in shown
    assert "<td class=number>131</td><td class=number>0.4</td>" in shown, "a floor stands beside its figure"
    assert "fid floor" not in shown and shown.count("compared") == 1
    assert shown.count("data:image/png;base64,") == 3 and "Drawn from the prior &lt;here&gt;." in shown
    assert re.findall('<figure class="(wide|half|alone)">', shown) == ["wide", "half", "half"]
    assert "1,200 steps in 1 min 45 s" in shown and "a CPU, 1 thread" in shown and "abc123" in shown and "scale quick" in shown
    assert "<th>channels</th><td>32, 64</td>" in shown and "1 × 32 × 32" in shown and "A, &lt;B&gt;" in shown
    assert "class=note" not in shown
    assert text.count("<svg") == 2 and str(Path.cwd()) not in text
    assert "1 of 2 models are built, trained in 1 min 45 s; the last on 2026-01-02" in text


def test_a_piece_can_be_heard_and_taken_away_and_a_table_is_read_as_one() -> None:
    build_vae()
    sound, notes = b"RIFF\0\0\0\0WAVE", b"MThd\0\0"
    folder = Path("data/pieces/vae")
    folder.mkdir(parents=True)
    build("vae", samples__NAME={"tune.wav": "As it sounds.", "tune.mid": "To play yourself.", "changes.csv": "What changed."})
    (folder / "tune.wav").write_bytes(sound)
    (folder / "tune.mid").write_bytes(notes)
    (folder / "changes.csv").write_text('voice,changed\n"<bass>",7\n')
    shown = article(page(), "vae")
    (heard,) = re.findall('<audio controls src="data:audio/wav;base64,([^"]+)"', shown)
    (taken,) = re.findall('<a download="tune.mid" href="data:application/octet-stream;base64,([^"]+)"', shown)
    assert (base64.b64decode(heard), base64.b64decode(taken)) == (sound, notes)
    assert "<th>voice</th><th>changed</th>" in shown and "<td>&lt;bass&gt;</td><td>7</td>" in shown


def test_what_is_not_built_says_which_command_builds_it() -> None:
    shown = article(page(), "mlp")
    assert "A multilayer perceptron" in shown
    assert "Not built yet. This builds it: <code>dvc repro evaluate@mlp sample@mlp</code>" in shown


def test_half_built_and_outdated_models_say_so() -> None:
    build("vae", models__NAME__model={"model": VAE["model"], "params": VAE, "info": INFO}, metrics__NAME__curve=CURVE)
    shown = article(page(), "vae")
    assert "<code>dvc repro evaluate@vae</code>" in shown and "<code>dvc repro sample@vae</code>" in shown
    build("vae", models__NAME__model={"model": VAE["model"], "params": {**VAE, "steps": 9}, "info": INFO})
    shown = article(page(), "vae")
    assert "Built from other parameters than params.yaml has now." in shown and "9 steps" in shown and "scale" not in shown


def test_the_same_results_give_the_same_page() -> None:
    build_vae()
    assert page() == page()


def test_a_chart_a_term_with_held_out_values_first() -> None:
    curve = pd.DataFrame({"step": [1, 2], "g/adversarial": [3, 2], "d/loss": [2.0, 1.0], "g/loss": [1, 2], "validation/loss": [None, 4]})
    first, second = charts(curve)
    keys = re.findall('<span class="key line[0-9]">([^<]+)</span>', first)
    assert first.startswith('<figure class="chart"><figcaption>loss') and keys == ["d", "g", "held out"]
    assert "training" in second and all(f"var(--line{i})" in first for i in (1, 2, 3)) and "#0a0b" not in first + second


def labels(chart: str) -> list[str]:
    return [label.replace(",", "") for label in re.findall(r">([0-9.,]+)</text>", chart)]


def test_a_chart_leaves_out_the_first_plunge_or_takes_a_logarithmic_axis() -> None:
    steps = list(range(1, 101))
    plunge = charts(pd.DataFrame({"step": steps, "a/loss": [1e6] + [3 - step / 100 for step in steps[1:]]}))[0]
    assert {label for label in labels(plunge) if float(label) > 5} == {"50", "100"}, "only the steps are large"
    falling = charts(pd.DataFrame({"step": steps, "a/loss": [10 ** (3 - step / 20) for step in steps]}))[0]
    assert {"0.01", "1", "100"} <= set(labels(falling))
    less = charts(pd.DataFrame({"step": steps, "a/loss": [10 ** (1 - step / 70) for step in steps]}))[0]
    assert {"0.5", "1", "2", "5"} <= set(labels(less))


def test_a_damaged_or_missing_file_leaves_the_old_page() -> None:
    build_vae()
    page()
    before = Path("gallery.html").read_bytes()
    Path("data/samples/vae/latent.png").unlink()
    with pytest.raises(UsageError, match=r"data/samples/vae/latent.png: missing or damaged"):
        gallery.gallery()
    build("vae", models__NAME__model="{")
    with pytest.raises(UsageError, match=r"data/models/vae/model.json: not JSON"):
        gallery.gallery()
    assert Path("gallery.html").read_bytes() == before
