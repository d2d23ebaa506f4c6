"""Probabilistic grammars whose every text has one derivation, so that a text's probability is exactly the product of its choices.

A grammar is a function that is given a `Pen` and says fixed words (`say`) or one of several options (`pick`), each of which is written down
at once. `Options` refuses a set in which one option begins another; hence from the words alone it is plain at each choice what was chosen.
The same function writes with a `Writer` and reads with a `Reader`, which follows any text, knows its probability, and notes which of the
rules of agreement it breaks: a rule is a choice whose options depend on what stands far before it.
"""

from __future__ import annotations

import json
import math
from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from itertools import accumulate, pairwise
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from generative.data import store
from generative.data import text as tokens
from generative.data.text import LOG_PROBABILITY, Text, Tokens
from generative.errors import UsageError
from generative.params import PARAMS_FILE, Positive, Source

GRAMMAR = "grammar.json"  # beside the arrays: the source whose rules the texts keep
RAW = "{split}.jsonl"


class Params(Source, Tokens):
    train: Positive
    test: Positive


class Phrases:
    """What may stand somewhere; the longest that fits is what stands there."""

    def __init__(self, phrases: Iterable[str]) -> None:
        self.phrases = [tuple(phrase.split()) for phrase in dict.fromkeys(phrases)]

    @cached_property
    def first(self) -> dict[str, list[int]]:
        """Places of the phrases by their first word, the longest phrase first."""
        found: dict[str, list[int]] = {}
        for place in sorted(range(len(self.phrases)), key=lambda place: -len(self.phrases[place])):
            found.setdefault(self.phrases[place][0], []).append(place)
        return found

    def match(self, words: Sequence[str], start: int) -> int | None:
        """The place of the phrase that the words have there."""
        here = self.first.get(words[start], ()) if start < len(words) else ()
        return next((i for i in here if tuple(words[start : start + len(self.phrases[i])]) == self.phrases[i]), None)


class Options(Phrases):
    """Phrases with their probabilities: falling as 1 / rank, or all alike.

    Raises:
        ValueError: one phrase begins another, so that a reader could not tell them apart.
    """

    def __init__(self, phrases: Iterable[str], alike: bool = False) -> None:
        super().__init__(phrases)
        for one, other in pairwise(sorted(self.phrases)):
            if other[: len(one)] == one:
                raise ValueError(f"{' '.join(one)!r} begins {' '.join(other)!r}")
        weights = [1.0 if alike else 1 / rank for rank in range(1, len(self.phrases) + 1)]
        total = math.fsum(weights)
        self.probabilities = [weight / total for weight in weights]
        self.bounds = list(accumulate(self.probabilities))[:-1]

    def without(self, *taken: str) -> Options:
        """The other phrases, in the same order."""
        return Options(phrase for phrase in map(" ".join, self.phrases) if phrase not in taken)


class Pen(ABC):
    """What a grammar writes or reads with."""

    log_probability: float = 0.0  # of all choices so far, in nats

    @abstractmethod
    def say(self, words: str) -> None:
        """The words that must stand here."""

    @abstractmethod
    def pick(self, options: Options, rule: str = "", among: Phrases | None = None) -> str:
        """One of the options; where a rule narrows them, `among` are those that the rule narrows."""


class Writer(Pen):
    def __init__(self, random: Random) -> None:
        self.random = random
        self.words: list[str] = []

    def say(self, words: str) -> None:
        self.words += words.split()

    def pick(self, options: Options, rule: str = "", among: Phrases | None = None) -> str:  # noqa: ARG002 - rules are for readers
        place = bisect_right(options.bounds, self.random.random())
        self.log_probability += math.log(options.probabilities[place])
        self.words += options.phrases[place]
        return " ".join(options.phrases[place])


class NotInGrammarError(Exception):
    """A text goes on as the grammar cannot."""


class Reader(Pen):
    """Follows a text.

    Raises:
        NotInGrammarError: from `say` and `pick`, at the first words that even without the rules could not stand there.
    """

    def __init__(self, text: str) -> None:
        self.words, self.place = text.split(), 0
        self.rules: dict[str, bool] = {}  # whether each rule held wherever it applied so far

    def say(self, words: str) -> None:
        self._take(tuple(words.split()))

    def pick(self, options: Options, rule: str = "", among: Phrases | None = None) -> str:
        found: Phrases = options
        place = options.match(self.words, self.place)
        if rule:
            self.rules[rule] = self.rules.get(rule, True) and place is not None
        if place is not None:
            self.log_probability += math.log(options.probabilities[place])
        elif among is not None:
            self.log_probability, found = -math.inf, among
            place = among.match(self.words, self.place)
        if place is None:
            raise NotInGrammarError(" ".join(self.words[self.place :]))
        self._take(found.phrases[place])
        return " ".join(found.phrases[place])

    def _take(self, words: tuple[str, ...]) -> None:
        if tuple(self.words[self.place : self.place + len(words)]) != words:
            raise NotInGrammarError(" ".join(self.words[self.place :]))
        self.place += len(words)


Grammar = Callable[[Pen], None]


def split(phrases: str) -> list[str]:
    """The phrases between semicolons."""
    return [phrase.strip() for phrase in phrases.split(";")]


def follow(grammar: Grammar, text: str, rules: Sequence[str]) -> tuple[dict[str, bool], float]:
    """Whether each rule holds in the text, and its log-probability; a text that does not follow the grammar to its end keeps no rule."""
    reader = Reader(text)
    try:
        grammar(reader)
        if reader.place < len(reader.words):
            raise NotInGrammarError
    except NotInGrammarError:
        return dict.fromkeys(rules, False), -math.inf
    return {rule: reader.rules.get(rule, True) for rule in rules}, reader.log_probability


def draw(grammar: Grammar, count: int, seed: int, number: int) -> list[Text]:
    """`count` texts, a function of (seed, number of the split) alone."""
    random, texts = Random(seed * len(store.SPLITS) + number), []
    for _ in range(count):
        writer = Writer(random)
        grammar(writer)
        texts.append(Text(" ".join(writer.words), writer.log_probability))
    return texts


def download(grammar: Grammar, params: Any, folder: Path) -> None:
    """Draws the three splits, a JSON line a text."""
    for number, split in enumerate(store.SPLITS):
        texts = draw(grammar, getattr(params, split), params.seed, number)
        lines = (json.dumps({"text": text.text, LOG_PROBABILITY: text.log_probability}) + "\n" for text in texts)
        (folder / RAW.format(split=split)).write_text("".join(lines), encoding="utf-8")


def preprocess(params: Any, name: str, raw: Path, folder: Path, source: str) -> store.Info:
    """The texts as tokens, each with its log-probability.

    Raises:
        UsageError: `length` or `vocabulary` cuts texts, whose probability would then be another.
    """
    where = f"{PARAMS_FILE}: data.{name}"
    splits = {split: _read(raw / RAW.format(split=split)) for split in store.SPLITS}
    # the words of a grammar are known before any text is drawn, so that the held-out texts teach the tokenizer nothing
    tokenizer = tokens.learn([text.text for texts in splits.values() for text in texts], params, where)
    arrays = {split: _arrays(texts, tokenizer, params, where) for split, texts in splits.items()}
    (folder / GRAMMAR).write_text(json.dumps({"source": source}) + "\n")
    return tokens.write(folder, arrays, tokenizer, params, name, [])


def _read(path: Path) -> list[Text]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        return [Text(line["text"], line[LOG_PROBABILITY]) for line in map(json.loads, lines)]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{path}: not a whole file of texts: {error}; `dvc repro download@{path.parent.name}` makes it") from None


def _arrays(texts: list[Text], tokenizer: Any, params: Any, where: str) -> store.Arrays:
    encoded = tokens.encode([text.text for text in texts], tokenizer)
    longest = max(map(len, encoded), default=0)
    if longest > params.length:
        raise UsageError(f"{where}.length: expected at least {longest}, the longest text, got {params.length}")
    if any(tokens.UNKNOWN in ids for ids in encoded):
        raise UsageError(f"{where}.vocabulary: expected room for all words of the grammar, got {params.vocabulary}")
    known = np.array([text.log_probability for text in texts], np.float32)[:, None]
    return {"x": tokens.rows(encoded, params.length), "attributes": known}
