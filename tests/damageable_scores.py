"""More kinds of files that damage.py damages: music in four notations, records and texts."""

from __future__ import annotations

import io
import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from building import build
from damageable import Kind

from generative.data import store, text
from generative.data.music import chorales, jsb, midi, tunes
from generative.data.music.notation.midi import written
from generative.data.music.notation.piece import QUARTER, Note, Piece
from generative.data.real import json_lines
from generative.data.real import text as any_text
from generative.errors import UsageError

COUNTS = {"seed": 3, "validation": 1, "test": 1}
MIDI = COUNTS | {"source": "music/midi", "path": "own", "group": "", "divisions": [4, 3], "window": 3, "stride": 1}
TUNES = COUNTS | {"source": "music/tunes", "collection": "own", "window": 3, "stride": 1}
GRID = {"bars": 1, "steps_per_bar": 16, "excerpts": "all"}
CHORALES = COUNTS | GRID | {"source": "music/chorales"}
JSB = GRID | {
    "source": "music/jsb",
    "seed": 3,
    "validation": 1,
    "urls": ["http://127.0.0.1:9"],
    "mirror": "own",
    "file": "j.json",
    "sha256": "0" * 64,
}
TEXT = COUNTS | {"path": "own", "file": "", "sha256": "", "urls": [], "mirror": "", "tokens": "words", "vocabulary": 100, "length": 8}
LINES = TEXT | {"source": "real/json_lines", "template": "{title} | {directions}"}
PLAIN = TEXT | {"source": "real/text", "stride": 4}
RECORDS = [{"title": f"soup {i}", "directions": [f"cut {i} onions", "boil", "eat"], "rating": i / 2} for i in range(8)]


def read(module: ModuleType, block: dict[str, Any], file: str = "") -> Callable[[Path], None]:
    """Both stages' reading; a file that is skipped by its name counts as refused."""

    def preprocess(place: Path) -> None:
        shutil.rmtree(place / "ready", ignore_errors=True)
        dataset = build(module, block, place, download=False)
        for split in store.SPLITS:
            dataset.split(split)
        if file and any(file in note for note in dataset.info.notes):
            raise UsageError(f"{place}: {dataset.info.notes}")

    return preprocess


def melody(step: int) -> Piece:
    notes = [Note(QUARTER * i, QUARTER, 60 + step * i % 12) for i in range(12)]
    return Piece("x", ["melody"], [notes], [(0, "G:major")], [(0, "4/4")])


def write_midi(place: Path) -> None:
    (place / "raw/midi").mkdir(parents=True)
    for step, name in enumerate("abcde", start=2):
        (place / f"raw/midi/{name}.mid").write_bytes(written(melody(step), 100, [0]))


def write_tunes(place: Path) -> None:
    (place / "raw").mkdir()
    lines = {
        "a": "GABc dedB|dedB dedB|",
        "b": '"Em"E2BE d{c}EBE|(3EFG B>c [Bd]z|',
        "c": "^f=f_e'2 A,/B,// |:c4- c4:|",
        "d": "A2BA GFED|EFGA B4|",
        "e": "[K:D]f>ed<c [M:3/4]BAG FED|",
    }
    tune = "X:{}\nT:{}\nM:4/4\nL:1/8\nK:Gmix\n{}\n"
    (place / "raw/tunes.abc").write_text("\n".join(tune.format(i, *entry) for i, entry in enumerate(lines.items(), start=1)))


def score(octave: int) -> str:
    note = f"<note><pitch><step>F</step><alter>1</alter><octave>{octave}</octave></pitch><duration>4</duration></note>"
    meter = "<time><beats>4</beats><beat-type>4</beat-type></time>"
    signs = f"<attributes><divisions>4</divisions><key><fifths>1</fifths></key>{meter}</attributes>"
    names = "".join(f'<score-part id="P{i}"><part-name>voice {i}</part-name></score-part>' for i in range(4))
    parts = "".join(f'<part id="P{i}"><measure number="1">{signs}{note * 4}</measure></part>' for i in range(4))
    return f"<?xml version='1.0'?><score-partwise><part-list>{names}</part-list>{parts}</score-partwise>"


def zipped(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def write_scores(place: Path) -> None:
    (place / "raw").mkdir(exist_ok=True)
    own = (place / "score.xml").read_bytes() if (place / "score.xml").exists() else score(5).encode()
    scores = {"a.mxl": score(3).encode(), "b.mxl": own, "c.mxl": score(4).encode()}
    packed = {name: zipped({"META-INF/container.xml": b"", "x.xml": content}) for name, content in scores.items()}
    (place / "raw/chorales.zip").write_bytes(zipped(packed))


def read_score(place: Path) -> None:
    write_scores(place)
    read(chorales, CHORALES)(place)


def write_jsb(place: Path) -> None:
    (place / "raw").mkdir()
    rows = [[60 + i % 7, 57, 52, -1] for i in range(32)]
    (place / "raw/j.json").write_text(json.dumps({split: [rows, rows] for split in ("train", "valid", "test")}))


def records(suffix: str, content: str) -> Kind:
    """One file of records or lines."""

    def make(place: Path) -> None:
        (place / "raw/files").mkdir(parents=True)
        (place / f"raw/files/own{suffix}").write_text(content)

    module, block = (any_text, PLAIN) if suffix == ".txt" else (json_lines, LINES)
    return Kind(f"raw/files/own{suffix}", make, read(module, block, "skipped"))


def write_tokens(place: Path) -> None:
    records(".txt", PROSE).make(place)
    read(any_text, PLAIN)(place)


def read_tokens(place: Path) -> None:
    text.encode(["cut 3 onions"], text.open_tokenizer(place / "ready"))


PROSE = "".join(f"cut {i} onions and boil them\n" for i in range(20))
CSV = "title,directions\n" + "".join(f'soup {i},"cut {i} ""onions"", eat"\n' for i in range(8))
KINDS = {
    "midi": Kind("raw/midi/b.mid", write_midi, read(midi, MIDI, "b.mid")),
    "abc": Kind("raw/tunes.abc", write_tunes, read(tunes, TUNES, "skipped")),
    "musicxml": Kind("score.xml", lambda place: (place / "score.xml").write_text(score(5)), read_score),
    "archive of scores": Kind("raw/chorales.zip", write_scores, read(chorales, CHORALES)),
    "json of chorales": Kind("raw/j.json", write_jsb, read(jsb, JSB)),
    "json records": records(".json", json.dumps(RECORDS)),
    "json lines": records(".jsonl", "".join(json.dumps(record) + "\n" for record in RECORDS)),
    "csv records": records(".csv", CSV),
    "plain text": records(".txt", PROSE),
    "tokenizer.json": Kind("ready/tokenizer.json", write_tokens, read_tokens),
}
