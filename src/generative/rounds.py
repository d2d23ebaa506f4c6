"""Closes the loop of a world model: its controller collects, M is trained on what it saw too, and a controller is evolved upon that.

    python -m generative.rounds world_controller 3    params.yaml has three rounds of the chain that leads to this controller
    python -m generative.rounds world_controller 1    and only the first again

Ha and Schmidhuber 2018, section 5: V stays that of the first round. DVC's graph has no loops, so the loop is unrolled: round 3 is entries
of its own, car_rollouts_3 (an encoding: what world_controller_2 collects) to world_controller_3, each a copy of the first round's but that
car_latents_3 begins with the episodes of the rounds before.
One that is there already stays as it is, so a round may be given other sizes; `python -m generative.scale quick` takes all of them back
too.
"""

from __future__ import annotations

import argparse
import re
import sys
import textwrap
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from generative import params, scale
from generative.errors import UsageError
from generative.params import PARAMS_FILE, shown
from generative.yaml_text import YamlText, apply

TOGETHER = 128  # episodes that a controller collects side by side: `batch_size` of the encoding, which may be changed there
MOST = 99


class Chain(NamedTuple):
    """The names of a round's entries, in the order in which they are made."""

    rollouts: str
    vision: str
    latents: str
    memory: str
    memories: str
    controller: str

    def round(self, number: int) -> Chain:
        """All but V are a round's own."""
        return Chain(*(f"{name}_{number}" for name in self))._replace(vision=self.vision) if number > 1 else self


def unroll(name: str, count: int) -> list[str]:
    """Gives params.yaml as many rounds of the chain that ends at a controller; returns the controllers of all.

    Raises:
        UsageError: the entry is no such controller, or an entry that has the name of a round's is another one.
    """
    if not 1 <= count <= MOST:
        raise UsageError(f"iterations: expected from 1 to {MOST} rounds, got {count}")
    first = chain(params.read(), name)
    later = {entry for number in range(count + 1, MOST + 1) for entry in first.round(number)} - set(first)
    scale.take_back_only(later)
    for number in range(2, count + 1):
        text = PARAMS_FILE.read_text(encoding="utf-8")
        content, blocks = params.read(), list(_blocks(text, first, number))
        for section, entry, lines in blocks:
            if entry in content[section]:
                _refuse_another(section, entry, content[section][entry], lines)
        scale.add({f"{section}.{entry}": lines for section, entry, lines in blocks if entry not in content[section]}, scale.scale_of(name))
    return [first.round(number).controller for number in range(1, count + 1)]


def chain(content: dict[str, dict[str, Any]], name: str) -> Chain:
    """What leads to a controller: episodes, V, what it sees of them, M, and what it remembers."""
    block = params.block(content, "models", name)
    try:
        memories = content["encodings"][block["data"]]
        latents = content["encodings"][memories["data"]]
        return Chain(latents["data"], latents["model"], memories["data"], memories["model"], block["data"], name)
    except KeyError:
        where = f"{PARAMS_FILE}: models.{name}.data"
        raise UsageError(f"{where}: expected what an M makes of what a V makes of episodes, got {shown(block.get('data'))}") from None


def beginnings(names: Iterable[str]) -> list[str]:
    """Of the named controllers those that are no later round of another."""
    there = set(names)
    return [name for name in names if not ((later := re.fullmatch(r"(.+)_\d+", name)) and later[1] in there)]


def _blocks(text: str, first: Chain, number: int) -> Iterator[tuple[str, str, str]]:
    """(section, name, lines) of the entries of a round."""
    here, before = first.round(number), first.round(number - 1)
    sources = {"data": before.memories, "beside": before.memories, "model": before.controller, "batch_size": TOGETHER}
    yield "encodings", here.rollouts, f"{here.rollouts}:\n" + "".join(f"  {key}: {value}\n" for key, value in sources.items())
    yield _copy(text, "encodings", first.latents, here.latents, data=here.rollouts, beside=before.latents, model=here.vision)
    yield _copy(text, "encodings", first.memories, here.memories, data=here.latents, beside=here.latents, model=here.memory)
    for old, new, data in (
        (first.memory, here.memory, here.latents),
        (first.controller, here.controller, here.memories),
    ):
        yield _copy(text, "models", old, new, data=data, against=data, judge=new)


def _copy(text: str, section: str, old: str, new: str, **changes: str) -> tuple[str, str, str]:
    _, rest = YamlText(text).block(section, old).split(":", 1)
    whole = f"{section}:\n" + textwrap.indent(f"{new}:{rest}", "  ")
    here = YamlText(whole)
    whole = apply(whole, [here.set_value(section, new, key, value) for key, value in changes.items()])
    return section, new, YamlText(whole).block(section, new)


def _refuse_another(section: str, name: str, block: dict[str, Any], lines: str) -> None:
    expected = YamlText(f"{section}:\n" + textwrap.indent(lines, "  "))
    for key in ("data", "judge") if section == "models" else ("data", "beside", "model"):
        if block.get(key) != (value := expected.value(section, name, key)):
            raise UsageError(f"{PARAMS_FILE}: {section}.{name}.{key}: expected {value}, as a round has it, got {shown(block.get(key))}")


if __name__ == "__main__":
    from generative.stages.command import guarded

    parser = argparse.ArgumentParser(
        prog="python -m generative.rounds", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("name", help="a controller of params.yaml")
    parser.add_argument("iterations", type=int, help="rounds that params.yaml is to have")
    arguments = parser.parse_args()
    sys.exit(guarded(lambda: print("\n".join(unroll(arguments.name, arguments.iterations))), "rounds"))
