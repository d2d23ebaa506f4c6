"""A scale goes over params.yaml and comes off it again without a trace."""

from __future__ import annotations

from pathlib import Path

import pytest

from generative import params, scale
from generative.errors import UsageError

TRAINING = {
    "against": "fashion", "compared": 0, "seed": 1, "steps": 100, "batch_size": 10, "accumulate": 1, "learning_rate": 0.0005,
    "schedule": "constant", "clip_norm": 0.0, "precision": "float32",
    "threads": 1, "log_every": 10, "checkpoint_every": 50,
}  # fmt: skip
PARAMS = """# The catalogue.

data:
  glyphs:  # drawn
    source: drawn/glyphs
    seed: 1
    validation: 10

  moons: {source: drawn/moons, seed: 1, validation: 10}

encodings: {}  # none yet

models:
  cnn:
    model: foundations/cnn
    data: glyphs
    judge: cnn
    steps: 100   # few
    learning_rate: 0.0005
    channels:
      - 32  # first
      - 64

  # remark
  vae:
    model: autoencoders/vae
    data: glyphs
    judge: cnn
    steps: 200  # "quoted" # twice
    title: 'a # b'  # said so
  mlp: {model: foundations/mlp, data: moons, judge: mlp, steps: 5}  # in braces
"""
JUDGE = "\n".join(f"    {key}: {value}" for key, value in TRAINING.items())
SHOWCASE = f"""data:
  fashion:  # real
    source: real/fashion_mnist
    seed: 1
    validation: 5000
encodings:
  codes: {{data: fashion, beside: fashion, model: vae, batch_size: 5}}
models:
  # larger
  judge:
    model: foundations/cnn
    data: fashion
    judge: judge
{JUDGE}

  cnn:
    channels: [64, 128]
  vae:
    data: fashion
    judge: judge
    steps: 0_300
    title: "c # d"
    extra: 1
  mlp:
    steps: 7
    wide: true
"""
BOOK = f"""data:
  fashion: {{source: real/other, seed: 2, validation: 1}}
models:
  vae: {{data: fashion, judge: judge, steps: 3000}}
  judge: {{model: foundations/cnn, data: fashion, judge: judge, {", ".join(f"{k}: {v}" for k, v in TRAINING.items())}}}
"""


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text(PARAMS)
    (tmp_path / "scales").mkdir()
    (tmp_path / "scales/showcase.yaml").write_text(SHOWCASE)
    (tmp_path / "scales/book.yaml").write_text(BOOK)
    return tmp_path


def text() -> str:
    return Path("params.yaml").read_text()


def test_everything_goes_on_and_comes_off_byte_for_byte() -> None:
    scale.put("showcase", [])
    content = params.read()
    assert content["models"]["vae"] == {
        "model": "autoencoders/vae", "data": "fashion", "judge": "judge", "steps": 300, "title": "c # d", "extra": 1,
    }  # fmt: skip
    assert content["models"]["mlp"] == {"model": "foundations/mlp", "data": "moons", "judge": "mlp", "steps": 7, "wide": True}
    assert content["models"]["cnn"]["channels"] == [64, 128]
    assert content["models"]["judge"] == {"model": "foundations/cnn", "data": "fashion", "judge": "judge", **TRAINING}
    assert list(content["data"]) == ["glyphs", "moons", "fashion"] and content["encodings"]["codes"]["model"] == "vae"
    for comment in ("# The catalogue.", "# drawn", "  # few", "# remark", '# "quoted" # twice', "# said so", "# in braces"):
        assert comment in text()
    assert "learning_rate: 0.0005\n" in text()
    scale.take_back([])
    assert text() == PARAMS and not Path(".scale.yaml").exists()


def test_a_named_model_brings_what_it_needs_and_takes_it_away_again() -> None:
    scale.put("showcase", ["vae"])
    content = params.read()
    assert "fashion" in content["data"] and "judge" in content["models"] and "codes" not in content["encodings"]
    assert content["models"]["mlp"]["steps"] == 5 and scale.scale_of("mlp") == "quick"
    assert scale.scale_of("vae") == scale.scale_of("judge") == scale.scale_of("fashion") == "showcase"
    scale.take_back(["vae"])
    assert text() == PARAMS


def test_a_model_brings_the_data_that_it_is_set_against() -> None:
    Path("scales/showcase.yaml").write_text(SHOWCASE.replace("    steps: 7\n", "    against: fashion\n"))
    scale.put("showcase", ["mlp"])
    assert params.read()["models"]["mlp"]["against"] == "fashion" and "fashion" in params.read()["data"]
    scale.take_back(["mlp"])
    assert text() == PARAMS


def test_what_is_asked_for_stays_when_another_goes() -> None:
    scale.put("showcase", ["vae"])
    scale.put("showcase", ["mlp", "judge"])
    scale.take_back(["vae"])
    assert params.read()["models"]["vae"]["data"] == "glyphs" and scale.scale_of("judge") == scale.scale_of("mlp") == "showcase"
    assert "fashion" in params.read()["data"]
    scale.take_back([])
    assert text() == PARAMS


def test_an_encoding_follows_its_model() -> None:
    edited = PARAMS.replace("encodings: {}  # none yet", "encodings:\n  codes: {data: glyphs, beside: glyphs, model: vae, batch_size: 5}")
    Path("params.yaml").write_text(edited)
    scale.put("showcase", ["vae"])
    assert params.read()["encodings"]["codes"]["data"] == "fashion"
    scale.take_back(["vae"])
    assert text() == edited
    scale.put("showcase", ["vae", "codes"])
    scale.take_back(["vae"])
    assert text() == edited, "codes of fashion through a model of glyphs would fit nothing"


def test_a_scale_that_leaves_an_encoding_behind_is_refused() -> None:
    edited = PARAMS.replace("encodings: {}  # none yet", "encodings:\n  codes: {data: glyphs, beside: glyphs, model: vae, batch_size: 5}")
    Path("params.yaml").write_text(edited)
    with pytest.raises(UsageError, match=r"scales/book.yaml: encodings.codes and models.vae would stand on different data"):
        scale.put("book", ["vae"])
    assert text() == edited and not Path(".scale.yaml").exists()


def test_another_scale_first_takes_back_what_it_concerns() -> None:
    scale.put("showcase", ["vae", "mlp"])
    scale.put("book", ["vae"])
    content = params.read()
    assert content["data"]["fashion"] == {"source": "real/other", "seed": 2, "validation": 1}
    assert content["models"]["vae"] == {
        "model": "autoencoders/vae", "data": "fashion", "judge": "judge", "steps": 3000, "title": "a # b",
    }  # fmt: skip
    assert scale.scale_of("vae") == scale.scale_of("fashion") == "book" and scale.scale_of("mlp") == "showcase"
    scale.take_back([])
    assert text() == PARAMS


def test_an_added_entry_that_is_in_use_changes_to_the_other_scale() -> None:
    scale.put("showcase", ["vae"])
    mine = "  mine: {model: foundations/mlp, data: fashion, judge: mine}\n"
    Path("params.yaml").write_text(text() + mine)
    scale.put("book", ["vae"])
    assert params.read()["data"]["fashion"]["source"] == "real/other"
    Path("params.yaml").write_text(text().replace(mine, ""))
    scale.take_back([])
    assert text() == PARAMS


def test_hand_edits_elsewhere_survive() -> None:
    scale.put("showcase", [])
    Path("params.yaml").write_text(
        text()
        .replace("validation: 10\n", "validation: 11  # more\n", 1)
        .replace("    model: autoencoders/vae\n", "    model: autoencoders/vae\n    beta: 2.0\n")
        .replace("steps: 0_300", "steps: 400")
        + "  mine: {model: foundations/mlp, data: fashion, judge: mine}\n"
    )
    scale.take_back([])
    content = params.read()
    assert content["data"]["glyphs"]["validation"] == 11 and content["models"]["vae"]["beta"] == 2.0
    assert content["models"]["vae"]["steps"] == 200 and "judge" not in content["models"]
    assert "fashion" in content["data"], "an added data set stays while a model of the person's own refers to it"
    Path("params.yaml").write_text("".join(line for line in text().splitlines(keepends=True) if "mine:" not in line))
    scale.take_back([])
    assert "fashion" not in params.read()["data"]


def test_putting_a_scale_twice_changes_nothing() -> None:
    scale.put("showcase", [])
    once = text()
    scale.put("showcase", [])
    scale.put("showcase", ["vae"])
    assert text() == once
    scale.take_back([])
    assert text() == PARAMS


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("showcse", []), "showcse: no such scale; did you mean showcase"),
        (("showcase", ["vea"]), "scales/showcase.yaml: vea: no such entry; did you mean vae"),
        (("broken", []), "scales/broken.yaml: models.new: not in params.yaml, so it must be complete; data is missing"),
        (("long", []), "scales/long.yaml: models.cnn.channels: expected the value on one line"),
    ],
)
def test_a_wrong_scale_or_name_changes_nothing(arguments: tuple[str, list[str]], message: str) -> None:
    Path("scales/broken.yaml").write_text("models:\n  vae: {steps: 1}\n  new: {model: foundations/mlp}\n")
    Path("scales/long.yaml").write_text("models:\n  cnn:\n    channels:\n      - 1\n      - 2\n")
    with pytest.raises(UsageError, match=message):
        scale.put(*arguments)
    assert text() == PARAMS and not Path(".scale.yaml").exists()


def test_taking_back_an_unknown_name_says_so() -> None:
    with pytest.raises(UsageError, match=r"params.yaml: vea: no such entry; did you mean vae"):
        scale.take_back(["vea"])


def test_the_command_prints_where_every_entry_stands(capsys: pytest.CaptureFixture[str]) -> None:
    scale.main("showcase", ["vae"])
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["vae", "showcase"] in lines and ["judge", "showcase", "(added)"] in lines and ["mlp", "quick"] in lines
    scale.main("quick", [])
    assert "showcase" not in capsys.readouterr().out
