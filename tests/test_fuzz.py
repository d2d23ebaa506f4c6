"""Catalogues and files that are damaged at random: accepted and valid, or refused with one message; never a traceback, a hang, a flood."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, read_yaml
from damage import KINDS
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from generative.catalogue import Catalogue
from generative.data import text
from generative.data.music.notation import grids, tokens
from generative.data.store import SPLITS, Info
from generative.errors import UsageError
from generative.training.checkpoint import build, outline

# --- params.yaml

Lines = list[tuple[str, str]]
Blocks = dict[str, dict[str, Lines]]
BOOK = read_yaml(ROOT / "scales/book.yaml")
OWN = {
    "source": "real/folder", "seed": 1, "path": "~/pictures", "attributes": "labels.csv", "label": "breed",
    "size": 32, "fit": "crop", "channels": 3, "validation": 20, "test": 20,
}  # fmt: skip
ODD = [
    "", "~", "null", "yes", "no", "True", "1e-3", "1e3", "1_000", "0o17", "0x1F", "1:30", "010", "+1", "-0.0", ".5", "5.", "1e400",
    ".nan", ".inf", "-.inf", "-1", "0", "1", "3", "2.5", "1000000000", "2147483648", "4294967296", "18446744073709551616", "9" * 5000,
    "0x" + "f" * 5000, "1e308", "2026-11-24", "2026-13-45", "2026-11-24T12:00:00Z", "12:60:61", "[]", "{}", "[1]", "[0]", "[-1]",
    "[1.5]", "[4, null]", "[[4]]", "[1000000000, 1000000000]", "[65536, 65536, 65536]", "[4, 4, 4, 4, 4, 4, 4, 4, 4, 4]", "{a: 1}",
    "{1: 2}", "{[1]: 2}", "[" * 3000, "[" * 3000 + "]" * 3000, "{a: " * 100 + "}" * 100, "&a [*a]", "&a {x: *a}", "*nothing", "&b 3",
    "<<: 3", "!!int x", "!!float x", "!!bool x", "!!null x", "!!binary x", "!!binary aGVsbG8=", "!!timestamp x", "!!set {a, b}",
    "!!omap [a: 1]", "!!omap [1]", "!!str 3", "! 3", "!!python/object/apply:os.system [ls]", "!unknown 3", "|\n      text", "text",
    "cosine", "glyphs", "moons", "vae", "cnn", "vae_codes", "mlp", "own", "autoencoders/vae", "foundations/mlp", "drawn/moons",
    "real/folder", "../params", "drawn/../drawn/moons", "drawn/__init__", "/", "~nobody_of_this_name/x", "\u00fcml\u00e4ut",
    "\u6f22\u5b57", "\U0001f600", '"\\0"', '"\\n\\n"', '"\\ud800"', "\x07", "\x00", "\ufeff", "'", '"', "{", "]", ": :", "- - -",
    "${models.vae.seed}", "%TAG", "@x", "`x`", "x" * 100_000, "[" + ", ".join(["1"] * 5000) + "]",
    "[&a [x, x, x, x], &b [*a, *a, *a, *a], &c [*b, *b, *b, *b], &d [*c, *c, *c], &e [*d, *d, *d], [*e, *e, *e]]",
]  # fmt: skip
KEYS = [
    "", "seed", "Seed", "1", "null", "~", "[1]", "{a: 1}", "<<", "model", "\u00fc", '"a\\nb"', "x" * 300, "a b", "a.b", "?", "data",
    "2026-13-45", "-", "true",
]  # fmt: skip
NAMES = [
    "VAE", "vae", "moons", "glyphs", "1", "null", "\u00fc", "x\u00b2", "a.b", "a-b", "_", "", "x" * 101, "..", '"/"', "vae_codes",
    '"a\\nb"', "true", "[1]",
]  # fmt: skip


def sound() -> Blocks:
    """The catalogue with a source of every kind, as lines of text."""
    content = read_yaml(ROOT / "params.yaml")
    content["data"] |= {name: {"seed": 1} | block for name, block in BOOK["data"].items() if "source" in block} | {"own": OWN}
    return {s: {n: [(k, json.dumps(v)) for k, v in b.items()] for n, b in blocks.items()} for s, blocks in content.items()}


def written(blocks: Blocks) -> str:
    return "".join(
        f"{section}:\n" + "".join(f"  {name}:\n" + "".join(f"    {k}: {v}\n" for k, v in lines) for name, lines in entries.items())
        for section, entries in blocks.items()
    )


@st.composite
def damaged(draw: st.DrawFn) -> str:
    """The text of a catalogue after one or a few mutations."""
    blocks = sound()
    for _ in range(draw(st.sampled_from([1, 1, 1, 2, 4]))):
        section = draw(st.sampled_from(sorted(blocks)))
        if not blocks[section]:
            continue
        name = draw(st.sampled_from(sorted(blocks[section])))
        draw(st.sampled_from([line, line, line, line, entry, other_section]))(draw, blocks, section, name)
    text = written(blocks)
    return draw(st.sampled_from([text] * 8 + [character(draw, text)]))


def line(draw: st.DrawFn, blocks: Blocks, section: str, name: str) -> None:
    lines = blocks[section][name]
    if not lines:
        return
    i = draw(st.integers(0, len(lines) - 1))
    key, value = lines[i]
    match draw(st.sampled_from(["value", "value", "number", "near", "near", "near", "other", "swap", "drop", "add", "misspell", "double"])):
        case "value":
            lines[i] = key, draw(st.sampled_from(ODD))
        case "number":
            lines[i] = key, str(draw(st.one_of(st.integers(-(2**70), 2**70), st.floats(), st.integers(0, 10**6))))
        case "near":
            lines[i] = key, str(draw(st.sampled_from([1, 2, 4, 8, 64, 0.25, 1.5])))
        case "other":
            lines[i] = key, draw(st.sampled_from([v for b in blocks.values() for other in b.values() for k, v in other if k == key]))
        case "swap":
            lines[i] = key, draw(st.sampled_from(lines))[1]
        case "drop":
            del lines[i]
        case "add":
            lines.insert(i, (draw(st.sampled_from(KEYS)), draw(st.sampled_from(ODD))))
        case "misspell":
            lines[i] = key[:-1] + draw(st.sampled_from(["", "s", "\u00e9", "."])), value
        case "double":
            lines.append((key, value))


def entry(draw: st.DrawFn, blocks: Blocks, section: str, name: str) -> None:
    entries = blocks[section]
    match draw(st.sampled_from(["drop", "rename", "empty", "swap", "copy"])):
        case "drop":
            del entries[name]
        case "rename":
            entries[draw(st.sampled_from(NAMES))] = entries.pop(name)
        case "empty":
            entries[name] = []
        case "swap":
            entries[name] = list(entries[draw(st.sampled_from(sorted(entries)))])
        case "copy":
            other = draw(st.sampled_from(sorted(blocks)))
            blocks[other][name] = list(entries[name])


def other_section(draw: st.DrawFn, blocks: Blocks, section: str, name: str) -> None:
    match draw(st.sampled_from(["drop", "misspell", "empty", "add"])):
        case "drop":
            del blocks[section]
        case "misspell":
            blocks[section + draw(st.sampled_from(["s", "\u00e9", " ", "\t"]))] = blocks.pop(section)
        case "empty":
            blocks[section] = {}
        case "add":
            blocks[draw(st.sampled_from(KEYS))] = blocks[section]


def character(draw: st.DrawFn, text: str) -> str:
    i = draw(st.integers(0, len(text)))
    return (
        text[:i] + draw(st.one_of(st.characters(codec="utf-8"), st.sampled_from(["\t", "\n", " ", "- ", "#", "'", "\x00"]))) + text[i + 1 :]
    )


def info(catalogue: Catalogue, name: str) -> Info:
    """The facts that a data set of this block would have."""
    kind, shape, vocabulary = described(catalogue, name)
    facts: dict[str, Any] = {"classes": ["a", "b"], "attributes": [], "values": {}, "notes": [], "fingerprint": ""}
    return Info(name=name, kind=kind, shape=shape, vocabulary=vocabulary, counts=dict.fromkeys(SPLITS, 9), sequence=1, **facts)  # type: ignore[arg-type]


def described(catalogue: Catalogue, name: str) -> tuple[Any, list[int], dict[str, list[str]]]:
    """Kind, shape of an example, and vocabulary."""
    if name in catalogue.content["encodings"]:
        model, kind = catalogue.model(catalogue.encoding(name).model)
        size = model.model_dump().get("latent_size", 1)
        return "codes", [8, size] if kind.__module__.startswith("generative.models.world.") else [size], {}
    block = catalogue.source(name)[0].model_dump()
    match block["source"].split("/"):
        case ["written" | "real", _] if "tokens" in block:
            return "text", [block["length"]], {text.STREAM: [f"t{i}" for i in range(50)]}
        case ["music", _] if "bars" in block:
            return "music", [block["bars"] * block["steps_per_bar"], len(grids.VOICES)], tokens.grid_vocabulary(grids.VOICES)
        case ["music", _]:
            return "music", [block["window"] + 1, 2], tokens.vocabulary_of([])
        case ["rollouts", _]:
            return "images", [3, 64, 64], {}
    channels = {"real/cifar": 3, "drawn/faces": 3, "drawn/flowers": 3, "real/folder": block.get("channels", 1)}.get(block["source"], 1)
    return ("images", [channels, block["size"], block["size"]], {}) if "size" in block else ("points", [2], {})


def valid_or_refused(folder: Path, text: str) -> bool:
    """Whether the catalogue is accepted; then each of its models can be built, or is refused by name."""
    path = folder / "params.yaml"
    path.write_text(text, encoding="utf-8", errors="surrogatepass")
    try:
        catalogue = Catalogue.read(path)
        catalogue.check()
    except UsageError as error:
        message = str(error)
        assert re.match(
            re.escape(f"{path}: ") + r"(data|encodings|models|not YAML: |expected the sections|.*: no such section)", message
        ), message
        assert "\n" not in message, message
        assert len(message) < 1500, message
        return False
    for name in catalogue.content["models"]:
        params, kind = catalogue.model(name)
        assert 0 <= params.seed < 2**32
        try:
            outline(kind, params, info(catalogue, params.data))
        except UsageError as error:
            key = str(error).partition(": ")[0]
            data = catalogue.content["data"].get(params.data, {})
            assert key in {"data", *type(params).model_fields, *data}, error
        except RuntimeError:  # too large even to be counted
            with pytest.raises(UsageError, match="expected sizes whose weights fit"):
                build(kind, params, info(catalogue, params.data))
    return True


def many(examples: int) -> Any:
    checks = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.data_too_large, HealthCheck.large_base_example]
    return settings(max_examples=examples, deadline=None, derandomize=True, database=None, suppress_health_check=checks)


@many(60)
@given(text=damaged())
def test_a_mutated_catalogue_is_valid_or_refused(tmp_path: Path, text: str) -> None:
    valid_or_refused(tmp_path, text)


@pytest.mark.slow
def test_a_thousand_mutated_catalogues_are_valid_or_refused(tmp_path: Path) -> None:
    outcomes: list[bool] = []
    many(1000)(given(text=damaged())(lambda text: outcomes.append(valid_or_refused(tmp_path, text))))()
    assert len(outcomes) >= 1000
    assert 50 < sum(outcomes) < len(outcomes) - 50  # mutations that are all refused, or none, would prove little
    print(f"{len(outcomes)} catalogues: {sum(outcomes)} valid, the rest refused")


def test_the_catalogue_that_is_mutated_is_valid_and_one_nested_a_hundred_thousand_deep_is_not(tmp_path: Path) -> None:
    assert valid_or_refused(tmp_path, written(sound()))
    assert not valid_or_refused(tmp_path, "data: " + "[" * 100_000)


@pytest.mark.parametrize("value", ODD, ids=range(len(ODD)))
def test_an_odd_value_anywhere_in_a_block_is_valid_or_refused(tmp_path: Path, value: str) -> None:
    for section, name, key in [("data", "own", "path"), ("models", "vae", "latent_size")]:
        blocks = sound()
        blocks[section][name] = [(k, value if k == key else v) for k, v in blocks[section][name]]
        valid_or_refused(tmp_path, written(blocks))


@pytest.mark.parametrize(
    ("section", "name", "key", "value", "said"),
    [
        ("encodings", "vae_codes", "data", "vae_codes", "encodings.vae_codes: made of itself: vae_codes from vae_codes"),
        ("encodings", "vae_codes", "beside", "vae_codes", "encodings.vae_codes: made of itself: vae_codes from vae_codes"),
        ("data", "moons", "seed", "4294967296", "data.moons.seed: expected less than 4294967296"),
        ("models", "vae", "batch_size", "1000000000", "models.vae.batch_size: expected less than or equal to 65536"),
        ("models", "vae", "threads", "1000000", "models.vae.threads: expected less than or equal to 1024"),
        ("models", "mlp", "widths", "[1000000000]", "models.mlp.widths.0: expected less than or equal to 65536"),
        ("models", "mlp", "model", "[mlp]", "models.mlp.model: expected the name of a file"),
        ("models", "mlp", "seed", "2026-13-45", "not YAML: month must be in 1..12"),
    ],
)
def test_what_was_once_accepted_or_a_traceback_is_refused(tmp_path: Path, section: str, name: str, key: str, value: str, said: str) -> None:
    blocks = sound()
    blocks[section][name] = [(k, value if k == key else v) for k, v in blocks[section][name]]
    (tmp_path / "params.yaml").write_text(written(blocks))
    with pytest.raises(UsageError, match=re.escape(said)):
        Catalogue.read(tmp_path / "params.yaml").check()


@pytest.mark.parametrize("name", ["m\u00fc", "x\u00b2", "x" * 101])
def test_a_name_that_is_no_folder_everywhere_is_refused(tmp_path: Path, name: str) -> None:
    blocks = sound()
    blocks["models"][name] = blocks["models"].pop("mlp")
    assert not valid_or_refused(tmp_path, written(blocks))


# --- files


def harmless(folder: Path, count: int, kinds: list[str]) -> None:
    """Damages `count` files of each kind in a process of its own, so that its memory is its own."""
    command = [sys.executable, str(Path(__file__).with_name("damage.py")), str(count), *kinds]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=280 + count * len(kinds), check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    report = json.loads(done.stdout.splitlines()[-1])
    assert set(report["kinds"]) == set(kinds)
    assert all(outcome["refused"] for outcome in report["kinds"].values()), report
    assert report["gigabytes"] < 2, report
    print(json.dumps(report, indent=1))


def test_thirty_damaged_files_of_each_kind_are_skipped_or_refused(tmp_path: Path) -> None:
    harmless(tmp_path, 30, list(KINDS))


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_five_hundred_damaged_files_are_skipped_or_refused(tmp_path: Path, kind: str) -> None:
    harmless(tmp_path, 500, [kind])
