"""Written grammars, tokens, and texts of one's own."""

from __future__ import annotations

import json
import math
from collections import Counter
from pathlib import Path
from random import Random
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from generative.data import grammar, store, text
from generative.data.grammar import Options, Pen, Phrases, Writer, follow
from generative.data.real import json_lines
from generative.data.real import text as any_text
from generative.data.written import recipes, tastings
from generative.errors import UsageError
from generative.metrics.text import copied
from generative.params import typed
from tests.building import arrays, build

WRITTEN = {"seed": 3, "tokens": "words", "vocabulary": 4000, "length": 120, "train": 300, "validation": 20, "test": 50}
FETCHED = {"file": "", "sha256": "", "urls": [], "mirror": ""}
OWN = {"seed": 3, "tokens": "words", "vocabulary": 100, "length": 12, "validation": 2, "test": 3, **FETCHED}
LINES = OWN | {"source": "real/json_lines", "length": 10, "template": "{title} | {directions}"}
GRAMMARS = [(tastings, tastings.review), (recipes, recipes.recipe)]


def small(pen: Pen) -> None:
    """Four texts; after b, x and y have other chances than after a."""
    letter = pen.pick(Options(["a", "b"]))
    pen.pick(Options(["x", "y"], alike=letter == "a"), "end")


def test_the_probabilities_of_all_texts_add_up_to_one_and_are_those_of_drawing() -> None:
    expected = {"a x": 1 / 3, "a y": 1 / 3, "b x": 2 / 9, "b y": 1 / 9}
    assert {words: math.exp(follow(small, words, ["end"])[1]) for words in expected} == pytest.approx(expected)
    drawn = Counter(t.text for t in grammar.draw(small, 9000, 1, 0))
    assert {words: drawn[words] / 9000 for words in expected} == pytest.approx(expected, abs=0.015)


@pytest.mark.parametrize(("module", "write"), GRAMMARS)
def test_reading_a_written_text_gives_its_probability_and_finds_every_rule_kept(module: ModuleType, write: grammar.Grammar) -> None:
    for drawn in grammar.draw(write, 200, 5, 0):
        rules, log_probability = follow(write, drawn.text, module.RULES)
        assert drawn.log_probability == pytest.approx(log_probability, abs=1e-9)
        assert rules == dict.fromkeys(module.RULES, True)


def test_options_that_begin_each_other_are_refused() -> None:
    with pytest.raises(ValueError, match="'red' begins 'red onion'"):
        Options(["onion", "red onion", "red"])


class Liar(Writer):
    """Breaks one rule once."""

    def __init__(self, random: Random, rule: str) -> None:
        super().__init__(random)
        self.rule = rule

    def pick(self, options: Options, rule: str = "", among: Phrases | None = None) -> str:
        if among is None or rule != self.rule:
            return super().pick(options, rule, among)
        self.rule = ""
        wrong = [phrase for phrase in map(" ".join, among.phrases) if options.match([*phrase.split(), "."], 0) is None]
        return super().pick(Options([self.random.choice(wrong)]))


@pytest.mark.parametrize(("module", "write", "rule"), [(m, w, rule) for m, w in GRAMMARS for rule in m.RULES])
def test_a_rule_that_is_broken_is_found_and_no_other(module: ModuleType, write: grammar.Grammar, rule: str) -> None:
    for seed in range(20):
        liar = Liar(Random(seed), rule)
        write(liar)
        kept, log_probability = follow(write, " ".join(liar.words), module.RULES)
        assert [name for name in module.RULES if not kept[name]] == [rule], " ".join(liar.words)
        assert log_probability == -math.inf


@pytest.mark.parametrize("change", [lambda t: t[:-2], lambda t: t + " and more", lambda t: "a " + t, lambda t: ""])
def test_a_text_that_does_not_follow_the_grammar_keeps_no_rule(change: Any) -> None:
    drawn = grammar.draw(tastings.review, 1, 5, 0)[0].text
    assert not any(tastings.agreement(change(drawn)).values())


@pytest.mark.parametrize(("module", "name"), [(tastings, "written/tastings"), (recipes, "written/recipes")])
def test_a_written_data_set_is_whole_repeats_and_reads_back(module: ModuleType, name: str, tmp_path: Path) -> None:
    block = WRITTEN | {"source": name}
    first, again = build(module, block, tmp_path / "1"), build(module, block, tmp_path / "2")
    other = build(module, block | {"seed": 4}, tmp_path / "3")
    files = [{p.name: p.read_bytes() for p in d.folder.rglob("*") if p.is_file()} for d in (first, again)]
    assert files[0] == files[1]
    assert first.info.fingerprint != other.info.fingerprint
    assert not (arrays(first, "train")["x"] == text.UNKNOWN).any()
    lines = [json.loads(line) for line in (tmp_path / "1/raw/test.jsonl").read_text().splitlines()]
    names, test = first.info.vocabulary["text"], arrays(first, "test")
    assert [text.join(text.words(ids, names)) for ids in test["x"].tolist()] == [line["text"] for line in lines]
    assert test["attributes"][:, 0] == pytest.approx([line["log_probability"] for line in lines], rel=1e-6)


@pytest.mark.parametrize(("key", "value"), [("length", 60), ("vocabulary", 300)])
def test_a_size_that_would_change_the_probabilities_is_refused(key: str, value: int, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=rf"data\.x\.{key}: expected"):
        build(tastings, WRITTEN | {"source": "written/tastings", key: value}, tmp_path)


SAMPLES = ["Älplermagronen (Alpine) | it's 1/2 good.\nNext", "the the there 猫 <stop> x"]


@pytest.mark.parametrize(("level", "expected"), [("characters", SAMPLES[0]), ("pairs", SAMPLES[0]),
    ("words", "älplermagronen ( alpine ) | it ' s 1 / 2 good . next")])  # fmt: skip
def test_tokens_are_printed_as_the_text_that_they_came_from(level: str, expected: str) -> None:
    params = typed(text.Tokens, {"tokens": level, "vocabulary": 258, "length": 9}, "x")
    tokenizer = text.learn(SAMPLES, params, "x")
    names = text.printed(tokenizer, level)
    assert [name.strip() for name in names[: len(text.SPECIAL)]] == text.SPECIAL
    assert text.join(text.words(tokenizer.encode(SAMPLES[0]).ids, names)) == expected
    ids = tokenizer.encode(SAMPLES[1]).ids  # a text may spell <stop>
    assert text.STOP not in ids
    assert text.UNKNOWN not in ids


def test_words_that_the_vocabulary_has_no_room_for_are_unknown_the_rarest_first() -> None:
    params = typed(text.Tokens, {"tokens": "words", "vocabulary": 4, "length": 9}, "x")
    tokenizer = text.learn(["b b b a a c"], params, "x")
    assert [tokenizer.encode(word).ids for word in "abcd"] == [[3], [2], [1], [1]]


def test_byte_pairs_need_room_for_every_byte() -> None:
    with pytest.raises(UsageError, match=r"here\.vocabulary: expected at least 258 for byte pairs, got 100"):
        text.learn([], typed(text.Tokens, {"tokens": "pairs", "vocabulary": 100, "length": 9}, "x"), "here")


def test_any_text_becomes_windows_that_do_not_reach_into_another_split(tmp_path: Path) -> None:
    (tmp_path / "book.txt").write_text("".join(f"line {n} of it\n" for n in range(100)))
    block = OWN | {"source": "real/text", "path": str(tmp_path / "book.txt"), "stride": 6, "length": 8, "vocabulary": 1000}
    dataset = build(any_text, block, tmp_path / "b")
    assert dataset.info.counts == {"train": 59, "validation": 2, "test": 3}
    names = dataset.info.vocabulary["text"]
    numbers = [int(word) for word in np.array(names)[arrays(dataset, "train")["x"].ravel()] if word.strip().isdigit()]
    assert 85 < max(numbers) < 90  # 4 tokens a line: the last 24 are the test split, the 16 before them validation
    assert (arrays(dataset, "test")["x"] == text.UNKNOWN).sum() == 6  # numbers that training never saw
    windows = arrays(dataset, "train")["x"]
    assert (windows[0, 6:] == windows[1, :2]).all()


def test_a_folder_of_texts_skips_what_is_none_and_says_so(tmp_path: Path) -> None:
    folder = tmp_path / "texts"
    folder.mkdir()
    (folder / "a.txt").write_text("some words in a row\n" * 30)
    (folder / "b.txt").write_bytes(b"\xff\xfe\x00 no text")
    (folder / "c.txt").write_text("  \n")
    (folder / "d.png").write_bytes(b"\x89PNG")
    block = OWN | {"source": "real/text", "path": str(folder), "stride": 8}
    notes = build(any_text, block, tmp_path / "b").info.notes
    assert len(notes) == 2
    assert notes[0].startswith("skipped, not UTF-8: b.txt: ")
    assert notes[1] == "skipped, empty: c.txt"
    for name in ("a.txt", "b.txt"):
        (folder / name).write_text("")
    with pytest.raises(UsageError, match=r"data\.x: expected texts, got none:\n  skipped, empty: a.txt\n"):
        build(any_text, block, tmp_path / "c")


DISHES = [{"title": f"Dish {n}", "directions": ["Cut it.", f"Cook it {n} times."]} for n in range(9)]
RECORDS: list[Any] = [*DISHES, {"title": None, "directions": ["x"]}, DISHES[0], {}, [1], {"title": "t"}]


@pytest.mark.parametrize("form", ["list", "lines"])
def test_records_become_texts_through_a_template_and_unusable_ones_are_named(form: str, tmp_path: Path) -> None:
    path = tmp_path / "records.json"
    path.write_text(json.dumps(RECORDS) if form == "list" else "\n".join([*map(json.dumps, RECORDS), "{broken"]))
    dataset = build(json_lines, LINES | {"path": str(path)}, tmp_path / "b")
    assert dataset.info.counts == {"train": 4, "validation": 2, "test": 3}
    names = dataset.info.vocabulary["text"]
    first = text.join(text.words(arrays(dataset, "train")["x"][0].tolist(), names))
    assert first.startswith("dish ")
    assert first.endswith("times")  # the tenth token
    expected = {
        "cut to 10 tokens: 9 of 9 texts", "skipped, no directions: records.json 14", "skipped, no title: records.json 10, records.json 12",
        "skipped, not a record with fields: records.json 13", "skipped, stood there before: records.json 11",
    }  # fmt: skip
    assert set(dataset.info.notes) == expected | ({"skipped, not JSON: records.json 15"} if form == "lines" else set())


def test_a_csv_is_read_by_its_columns(tmp_path: Path) -> None:
    (tmp_path / "wine.csv").write_text("title,directions\n" + "".join(f'"a, {n}",go\n' for n in range(8)))
    assert sum(build(json_lines, LINES | {"path": str(tmp_path / "wine.csv")}, tmp_path / "b").info.counts.values()) == 8


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"template": "no fields"}, r"data\.x\.template: expected a text with fields"),
        ({"path": ""}, r"data\.x: expected all of file, sha256, urls and mirror, or else a path"),
        ({"file": "a.json"}, r"data\.x: expected a path, or else file"),
        ({"path": "nowhere.json"}, r"data\.x\.path: expected a file or a folder of files.*'nowhere.json', .*folder .*GENERATIVE_MIRROR"),
        ({"test": 8}, r"data\.x\.test: expected test \+ validation below the 9 usable records, got 10"),
        ({"template": "{nothing}"}, r"below the 0 usable records, got 5\n  skipped, no nothing: records.json 1, "),
    ],
)
def test_what_a_user_can_get_wrong_is_one_message(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    (tmp_path / "records.json").write_text(json.dumps(RECORDS))
    with pytest.raises(UsageError, match=message):
        build(json_lines, LINES | {"path": str(tmp_path / "records.json")} | change, tmp_path / "b")


def test_a_copied_span_is_as_long_as_it_is_and_ends_at_a_stop() -> None:
    train = np.array([[5, 6, 7, 8, 0, 0], [9, 5, 6, 3, 0, 0]])
    x = np.array([[5, 6, 7, 4, 0, 0], [4, 4, 4, 4, 4, 4], [8, 9, 5, 6, 3, 2], [8, 0, 0, 0, 0, 0], [8, 7, 6, 5, 9, 0]])
    assert copied(x, train).tolist() == [3, 0, 4, 1, 1]


def test_a_data_set_without_its_tokenizer_says_so(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"tokenizer.json: not a tokenizer.*dvc checkout"):
        text.open_tokenizer(tmp_path)
    assert store.TYPES["text"] == "int64"
