"""Texts as tokens, through a tokenizer that is learnt from the training texts and travels with the data set as tokenizer.json.

Token 0 is the stop: it ends a text and fills what is left of its row. Token 1 stands for every word that is not in the vocabulary.
`Info.vocabulary["text"]` has the tokens as they are printed: their `join` is the text again, up to case and spacing where tokens are words.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from generative.data import store
from generative.errors import UsageError
from generative.params import Block

if TYPE_CHECKING:
    from tokenizers import Tokenizer

STOP, UNKNOWN = 0, 1
SPECIAL = ["<stop>", "<unknown>"]
STREAM = "text"  # the one stream of tokens in `Info.vocabulary`
LOG_PROBABILITY = "log_probability"  # attribute: of a whole text, in nats, where the source knows it
TOKENIZER = "tokenizer.json"
BYTES = 256


class Tokens(Block):
    """What a block of texts says about its tokens."""

    # words: in lower case, punctuation isolated; characters: as they are; pairs: byte pairs (Sennrich et al. 2016), which know no unknown
    tokens: Literal["words", "characters", "pairs"]
    vocabulary: Annotated[int, Field(gt=len(SPECIAL), le=2**20)]  # tokens at most, the stop and the unknown among them
    length: Annotated[int, Field(gt=0, le=2**16)]  # tokens of an example


class Text(NamedTuple):
    text: str
    log_probability: float | None  # in nats


def learn(texts: Iterable[str], params: Tokens, where: str) -> Tokenizer:
    """A tokenizer of these texts, the same for the same texts.

    Raises:
        UsageError: a vocabulary that the single bytes of `pairs` alone would overflow.
    """
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

    options = {"vocab_size": params.vocabulary, "special_tokens": SPECIAL, "show_progress": False}
    if params.tokens == "pairs":
        if params.vocabulary < len(SPECIAL) + BYTES:
            raise UsageError(f"{where}.vocabulary: expected at least {len(SPECIAL) + BYTES} for byte pairs, got {params.vocabulary}")
        tokenizer, trainer = Tokenizer(models.BPE()), trainers.BpeTrainer(initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), **options)
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
    else:
        tokenizer, trainer = Tokenizer(models.WordLevel(unk_token=SPECIAL[UNKNOWN])), trainers.WordLevelTrainer(**options)
        if params.tokens == "words":
            tokenizer.normalizer = normalizers.Lowercase()
            tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Punctuation("isolated")])
        else:
            tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
            tokenizer.decoder = decoders.Fuse()
    tokenizer.train_from_iterator(texts, trainer)
    plain = json.loads(tokenizer.to_str()) | {"added_tokens": []}  # a text that spells <stop> does not stop
    return Tokenizer.from_str(json.dumps(plain))


def open_tokenizer(folder: Path) -> Tokenizer:
    """The tokenizer of a processed data set. Raises: UsageError: it is missing or damaged."""
    from tokenizers import Tokenizer

    path = folder / TOKENIZER
    try:
        return Tokenizer.from_str(path.read_text(encoding="utf-8"))
    except Exception as error:  # noqa: BLE001 - the library has no class of its own for a file that it cannot read
        raise UsageError(f"{path}: not a tokenizer: {error}; `dvc checkout` restores it") from None


def printed(tokenizer: Tokenizer, level: str) -> list[str]:
    """The tokens in order of ids, as `join` takes them: a word with its blank before it, a broken character byte by byte as <0xC3>."""
    ordered = sorted(tokenizer.get_vocab(), key=tokenizer.get_vocab().__getitem__)
    if level == "pairs":
        places = {character: byte for byte, character in enumerate(_byte_characters())}
        return SPECIAL + [_as_text(bytes(places[c] for c in token)) for token in ordered[len(SPECIAL) :]]
    blank = " " if level == "words" else ""
    return [SPECIAL[STOP], *(blank + token for token in ordered[UNKNOWN:])]


def join(tokens: Sequence[str]) -> str:
    """The text of printed tokens."""
    broken = re.compile("(?:<0x[0-9A-F]{2}>)+")
    return broken.sub(lambda m: bytes.fromhex(m[0].replace("<0x", "").replace(">", "")).decode(errors="replace"), "".join(tokens)).strip(
        " "
    )


def words(ids: Iterable[int], vocabulary: Sequence[str]) -> list[str]:
    """The printed tokens of one example, up to its stop."""
    found = []
    for token in ids:
        if token == STOP:
            break
        found.append(vocabulary[token])
    return found


def rows(encoded: Sequence[Sequence[int]], length: int) -> NDArray[np.int64]:
    """(N, length): each text in a row of its own, cut or filled with stops."""
    x = np.full((len(encoded), length), STOP, np.int64)
    for row, ids in zip(x, encoded, strict=True):
        row[: len(ids)] = ids[:length]
    return x


def write(
    folder: Path, splits: Mapping[str, store.Arrays], tokenizer: Tokenizer, params: Tokens, name: str, notes: list[str]
) -> store.Info:
    """The arrays in the store's format, with the tokenizer beside them."""
    (folder / TOKENIZER).write_text(tokenizer.to_str(pretty=True) + "\n", encoding="utf-8")
    known = [LOG_PROBABILITY] if "attributes" in splits["train"] else []
    vocabulary = {STREAM: printed(tokenizer, params.tokens)}
    return store.write_dataset(folder, splits, name=name, kind="text", attributes=known, vocabulary=vocabulary, notes=notes)


def encode(texts: Sequence[str], tokenizer: Tokenizer) -> list[list[int]]:
    return [encoding.ids for encoding in tokenizer.encode_batch(list(texts))]


def _as_text(content: bytes) -> str:
    return re.sub("[\udc80-\udcff]", lambda m: f"<0x{ord(m[0]) - 0xDC00:02X}>", content.decode(errors="surrogateescape"))


def _byte_characters() -> list[str]:
    """The printable character that stands for each byte in byte pairs: itself where it has one, else those from U+0100 on, in order."""
    plain = {*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)}
    spare = iter(range(256, 512))
    return [chr(byte if byte in plain else next(spare)) for byte in range(BYTES)]
