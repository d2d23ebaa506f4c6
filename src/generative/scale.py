"""Puts a scale (an overlay in scales/) over params.yaml, all of it or some entries, and takes it back.

    python -m generative.scale                   which entry stands at which scale
    python -m generative.scale showcase          everything that scales/showcase.yaml speaks of
    python -m generative.scale showcase vae      the VAE, and what it needs to stand at that scale: data, judge, encodings
    python -m generative.scale quick [NAME ...]  back to what stood in params.yaml before

An overlay has the sections of params.yaml. Where an entry exists its keys are replaced one by one; one that does not exist must be
complete and is added, until it is taken back and nothing refers to it any more. What was replaced stands in .scale.yaml meanwhile.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Mapping, Set
from dataclasses import asdict, dataclass, replace
from io import StringIO
from pathlib import Path
from typing import Any

from generative import params
from generative.errors import UsageError
from generative.files import write_file
from generative.params import PARAMS_FILE, SECTIONS, Encoding, Source, Training, closest
from generative.yaml_text import YamlText, apply

QUICK = "quick"  # params.yaml as it is written by hand
FOLDER, RECORD_FILE = Path("scales"), Path(".scale.yaml")
HEADER = "# What stood in params.yaml before a scale was put over it. Written by `python -m generative.scale`; not to be edited.\n"
DATA = ("data", "encodings")  # sections of what a model is trained on
COMPLETE = {"data": Source, "encodings": Encoding, "models": Training}

Content = dict[str, dict[str, Any]]
Address = str  # of an entry: section.name


@dataclass(frozen=True)
class Placed:
    """What a scale did to one entry."""

    scale: str
    named: bool  # asked for, and not only needed by one that was
    values: dict[str, str | None]  # what was written before, None where there was no such key
    piece: str  # the whole text, where the entry was added


Record = dict[Address, Placed]


def scale_of(name: str) -> str:
    """The scale at which an entry of params.yaml stands."""
    return next((placed.scale for address, placed in _read_record().items() if address.split(".")[1] == name), QUICK)


def put(scale: str, names: Iterable[str]) -> Record:
    """Puts a scale over the named entries (over all it speaks of, where none is named); returns what stands at a scale now.

    Raises:
        UsageError: no such scale, no such entry in it, or an entry that does not fit; nothing is changed then.
    """
    file = FOLDER / f"{scale}.yaml"
    if not file.exists():
        raise UsageError(f"{scale}: no such scale{closest(scale, scales())}")
    overlay = params.read(file)
    named = _named(names, _addresses(overlay), str(file))
    before = _read_record()
    named |= {address for address, entry in before.items() if entry.named and entry.scale == scale} & _addresses(overlay)
    text, record = _taken_back(_read(PARAMS_FILE), before, named & before.keys())
    new, placed, kept = _fit(text, record, file, overlay, named)
    asked = named | {address for address, entry in before.items() if entry.named}
    kept |= {address: replace(entry, named=address in asked) for address, entry in placed.items()}
    _write_record(kept)  # first, so that there is a way back from a half-done change
    write_file(PARAMS_FILE, new)
    return kept


def take_back(names: Iterable[str]) -> Record:
    """Takes the named entries (all, where none is named) back to what stood before, with what only they needed."""
    before = _read_record()
    everything = _addresses(params.read()) | before.keys()
    going = _named(names, everything, str(PARAMS_FILE)) & before.keys()
    text, record = _taken_back(_read(PARAMS_FILE), before, going)
    write_file(PARAMS_FILE, text)
    _write_record(record)
    return record


def take_back_only(names: Set[str]) -> None:
    """Takes those of the names back that stand at a scale, where there are any."""
    if names := names & {address.split(".")[1] for address in _read_record()}:
        take_back(names)


def add(blocks: Mapping[Address, str], scale: str) -> None:
    """Adds whole entries, as `YamlText.block` gives their lines, until they are taken back."""
    text, record = _read(PARAMS_FILE), _read_record()
    for address, lines in blocks.items():
        edits, piece = YamlText(text).add_block(address.split(".")[0], lines)
        text = apply(text, edits)
        record[address] = Placed(scale, True, {}, piece)
    _write_record(record)
    write_file(PARAMS_FILE, text)


def scales() -> list[str]:
    """Every scale there is, the smallest first."""
    return [QUICK, *sorted((path.stem for path in FOLDER.glob("*.yaml")), reverse=True)]


def _fit(text: str, record: Record, file: Path, overlay: Content, named: set[Address]) -> tuple[str, Record, Record]:
    """The text with the named entries at the scale and what they need, what was placed for it, and what stays as recorded."""
    content = _load(text)
    whole = {s: content[s] | {n: content[s].get(n, {}) | block for n, block in overlay[s].items()} for s in SECTIONS}
    targets = _reach(whole, named) & _addresses(overlay)
    while True:
        base, kept = _taken_back(text, record, targets & record.keys(), targets)
        new, placed = _place(base, file, overlay, targets)
        torn = _torn(_load(new)) - _torn(params.read())
        if not torn:
            return new, placed, kept
        more = _reach(whole, torn) & _addresses(overlay) - targets
        if not more:
            raise UsageError(f"{file}: {' and '.join(sorted(torn))} would stand on different data; the scale must speak of each")
        targets |= more


def _place(text: str, file: Path, overlay: Content, targets: set[Address]) -> tuple[str, Record]:
    content, here, source, record, edits = _load(text), YamlText(text), YamlText(_read(file)), Record(), []
    added = []
    for section, name in (address.split(".") for address in _addresses(overlay) if address in targets):
        if name not in content[section]:
            added.append((section, name))
            continue
        old = content[section][name]
        values = {}
        for key in (key for key, value in overlay[section][name].items() if key not in old or old[key] != value):
            new = source.value(section, name, key) or ""
            if "\n" in new:
                raise UsageError(f"{file}: {section}.{name}.{key}: expected the value on one line")
            values[key] = here.value(section, name, key)
            edits.append(here.set_value(section, name, key, new))
        record[f"{section}.{name}"] = Placed(file.stem, False, values, "")
    text = apply(text, edits)
    for section, name in added:
        _check_complete(file, overlay, section, name)
        edits, piece = YamlText(text).add_block(section, source.block(section, name))
        text = apply(text, edits)
        record[f"{section}.{name}"] = Placed(file.stem, False, {}, piece)
    return text, record


def _taken_back(text: str, record: Record, names: set[Address], again: Set[Address] = frozenset()) -> tuple[str, Record]:
    """Text and record without the named entries, without what only they needed, and without what would not fit any more.

    Args:
        again: entries that will be added again at once, and so go even where something refers to them.
    """
    content = _load(text)
    while True:
        asked = {address for address, entry in record.items() if entry.named} - names
        going = names | (record.keys() - _reach(content, asked))
        new, gone = _restore(text, record, going, again)
        torn = (_torn(_load(new)) - _torn(content)) & record.keys() - going
        if not torn:
            return new, {a: replace(e, named=e.named and a not in names) for a, e in record.items() if a not in gone}
        names = names | torn


def _restore(text: str, record: Record, going: set[Address], again: Set[Address]) -> tuple[str, set[Address]]:
    here, edits = YamlText(text), []
    content = _load(text)
    for section, name in (address.split(".") for address in going if not record[address].piece):
        for key, value in record[f"{section}.{name}"].values.items() if name in content[section] else ():
            edits += here.drop_key(section, name, key) if value is None else [here.set_value(section, name, key, value)]
    text = apply(text, edits)
    content, added = _load(text), {address for address in going if record[address].piece}
    added -= _reach(content, _addresses(content) - added) - again
    here, edits = YamlText(text), []
    for section in SECTIONS:
        pieces = {address.split(".")[1]: record[address].piece for address in added if address.startswith(f"{section}.")}
        edits += here.remove_blocks(section, pieces) if pieces else []
    return apply(text, edits), added | {address for address in going if not record[address].piece}


def _references(content: Content, address: Address) -> list[Address]:
    section, name = address.split(".")
    block = content[section][name]
    kinds = {"data": {}, "encodings": {"data": DATA, "beside": DATA, "model": ("models",)}}
    keys: Mapping[str, tuple[str, ...]] = kinds.get(section, {"data": DATA, "against": DATA, "judge": ("models",)})
    return [f"{s}.{block[key]}" for key, where in keys.items() for s in where if key in block and block[key] in content[s]]


def _reach(content: Content, starts: Iterable[Address]) -> set[Address]:
    """The entries, and all that they refer to."""
    reached: set[Address] = set()
    waiting = [address for address in starts if address in _addresses(content)]
    while waiting:
        address = waiting.pop()
        if address not in reached:
            reached.add(address)
            waiting += _references(content, address)
    return reached


def _torn(content: Content) -> set[Address]:
    """Entries that refer to a model of data they know nothing of: an encoding to its model, a model to its judge."""
    pairs = [(f"encodings.{n}", b.get("model"), params.origins(content, n)) for n, b in content["encodings"].items()]
    pairs += [(f"models.{n}", b.get("judge"), [b.get("data")]) for n, b in content["models"].items()]
    torn = set()
    for address, model, known in pairs:
        if model in content["models"] and content["models"][model].get("data") not in known:
            torn |= {address, f"models.{model}"}
    return torn


def _check_complete(file: Path, overlay: Content, section: str, name: str) -> None:
    missing = [key for key in COMPLETE[section].model_fields if key not in overlay[section][name]]
    if missing:
        raise UsageError(f"{file}: {section}.{name}: not in {PARAMS_FILE}, so it must be complete; {missing[0]} is missing")


def _addresses(content: Content) -> Set[Address]:
    return {f"{section}.{name}": None for section in SECTIONS for name in content[section]}.keys()


def _named(names: Iterable[str], addresses: Iterable[Address], where: str) -> set[Address]:
    known: dict[str, set[Address]] = {}
    for address in addresses:
        known.setdefault(address.split(".")[1], set()).add(address)
    for name in names:
        if name not in known:
            raise UsageError(f"{where}: {name}: no such entry{closest(name, known)}")
    return {address for name in list(names) or known for address in known[name]}


def _read(path: Path) -> str:
    with path.open(encoding="utf-8", newline="") as file:
        return file.read()


def _load(text: str) -> Content:
    from ruamel.yaml import YAML

    content = YAML(typ="safe").load(text)
    return {section: content.get(section) or {} for section in SECTIONS}


def _read_record() -> Record:
    from ruamel.yaml import YAML, YAMLError

    if not RECORD_FILE.exists():
        return {}
    try:
        return {address: Placed(**entry) for address, entry in YAML(typ="safe").load(_read(RECORD_FILE)).items()}
    except (YAMLError, TypeError, AttributeError):
        raise UsageError(f"{RECORD_FILE}: not what was written there; restore {PARAMS_FILE} with git and delete it") from None


def _write_record(record: Record) -> None:
    from ruamel.yaml import YAML

    if not record:
        RECORD_FILE.unlink(missing_ok=True)
        return
    out = StringIO()
    YAML(typ="safe").dump({address: asdict(entry) for address, entry in record.items()}, out)
    write_file(RECORD_FILE, HEADER + out.getvalue())


def main(scale: str | None, names: list[str]) -> None:
    """Does what the command line asks for and prints where every entry stands."""
    if scale == QUICK:
        take_back(names)
    elif scale is not None:
        put(scale, names)
    record = _read_record()
    for section, blocks in params.read().items():
        print(f"{section}:")
        for name in blocks:
            placed = record.get(f"{section}.{name}")
            print(f"  {name:24} {placed.scale if placed else QUICK}{' (added)' if placed and placed.piece else ''}")


if __name__ == "__main__":
    from generative.stages.command import guarded

    parser = argparse.ArgumentParser(
        prog="python -m generative.scale", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("scale", nargs="?", help="quick, or a file in scales/ without its ending")
    parser.add_argument("names", nargs="*", help="entries of the scale; without a name all of them")
    arguments = parser.parse_args()
    sys.exit(guarded(lambda: main(arguments.scale, arguments.names), "scale"))
