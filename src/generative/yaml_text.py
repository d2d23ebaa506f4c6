"""Edits in the text of params.yaml that leave every other byte, comment and blank line as it stands."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.nodes import CollectionNode, MappingNode, Node

from generative.errors import UsageError

Edit = tuple[int, int, str]  # what stands from here to there becomes this
Pair = tuple[Node, Node]


def apply(text: str, edits: Iterable[Edit]) -> str:
    """The text with all edits made; they must not overlap, and those at one place come out in their order."""
    ordered = sorted(edits, key=lambda edit: edit[0])
    for start, end, new in ordered[::-1]:
        text = text[:start] + new + text[end:]
    return text


class YamlText:
    """A text of sections, in them named blocks, in them keys."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.root: Node = YAML(typ="safe", pure=True).compose(text)

    def value(self, section: str, name: str, key: str) -> str | None:
        """The value as it is written; None where there is no such key."""
        pair = _find(self._block(section, name), key)
        return self.text[pair[1].start_mark.index : _end(pair[1])] if pair else None

    def block(self, section: str, name: str) -> str:
        """The lines of a block, from its name to its last key, at no indentation."""
        label, value = self._pair(section, name)
        lines = self.text[self._line_start(label.start_mark.index) : self._line_end(_end(value))]
        return textwrap.dedent(lines).rstrip("\n") + "\n"

    def set_value(self, section: str, name: str, key: str, value: str) -> Edit:
        """Puts a value where the key's old one stands, or the key at the end of the block."""
        block = self._block(section, name)
        pair = _find(block, key)
        if pair:
            return pair[1].start_mark.index, _end(pair[1]), value
        last_label, last_value = block.value[-1]
        if block.flow_style:
            return _end(last_value), _end(last_value), f", {key}: {value}"
        at = self._line_end(_end(last_value))
        return at, at, f"{self._newline(at)}{' ' * last_label.start_mark.column}{key}: {value}\n"

    def drop_key(self, section: str, name: str, key: str) -> list[Edit]:
        """Takes away a key that `set_value` added, if it still stands there."""
        block = self._block(section, name)
        labels = [label.value for label, _ in block.value]
        if key not in labels:
            return []
        label, value = block.value[labels.index(key)]
        if block.flow_style:
            return [(_end(block.value[labels.index(key) - 1][1]), _end(value), "")]
        return [(self._line_start(label.start_mark.index), self._line_end(_end(value)), "")]

    def add_block(self, section: str, lines: str) -> tuple[list[Edit], str]:
        """Puts a block (as `block` gives it) at the end of a section; also the text that is new there."""
        label, value = self._pair(section)
        if not isinstance(value, MappingNode) or not value.value:
            piece = textwrap.indent(lines, "  ")
            at = self._line_end(label.end_mark.index)
            emptied = [(label.end_mark.index + 1, value.end_mark.index, "")] if isinstance(value, MappingNode) else []
            return [*emptied, (at, at, self._newline(at) + piece)], piece
        if value.flow_style:
            raise UsageError(f"{section}: expected each block on lines of its own, got the whole section in braces")
        (before, last) = value.value[-2:] if len(value.value) > 1 else (value.value[-1],) * 2
        apart = "\n\n" in self.text[_end(before[1]) : last[0].start_mark.index]
        piece = "\n" * apart + textwrap.indent(lines, " " * last[0].start_mark.column)
        at = self._line_end(_end(last[1]))
        return [(at, at, self._newline(at) + piece)], piece

    def remove_blocks(self, section: str, pieces: dict[str, str]) -> list[Edit]:
        """Takes away blocks that `add_block` put there, with what was edited in them since."""
        label, value = self._pair(section)
        edits: list[Edit] = []
        for name, piece in pieces.items():
            pair = _find(value, name)
            if pair is None:
                continue
            start = self._line_start(pair[0].start_mark.index)
            if piece.startswith("\n") and self.text[:start].endswith("\n\n"):
                start -= 1
            edits.append((start, self._line_end(_end(pair[1])), ""))
        if edits and isinstance(value, MappingNode) and len(edits) == len(value.value):
            edits.append((label.end_mark.index + 1, label.end_mark.index + 1, " {}"))
        return edits

    def _pair(self, *keys: str) -> Pair:
        node, pair = self.root, None
        for key in keys:
            pair = _find(node, key)
            if pair is None:
                raise UsageError(f"{'.'.join(keys)}: no such entry")
            node = pair[1]
        assert pair is not None
        return pair

    def _block(self, section: str, name: str) -> MappingNode:
        block = self._pair(section, name)[1]
        assert isinstance(block, MappingNode)
        return block

    def _line_start(self, index: int) -> int:
        return self.text.rfind("\n", 0, index) + 1

    def _line_end(self, index: int) -> int:
        end = self.text.find("\n", index)
        return len(self.text) if end < 0 else end + 1

    def _newline(self, at: int) -> str:
        return "" if self.text[:at].endswith("\n") else "\n"


def _find(node: Node, key: str) -> Pair | None:
    if not isinstance(node, MappingNode):
        return None
    return next(((label, value) for label, value in node.value if label.value == key), None)


def _end(node: Node) -> int:
    # The end mark of a collection in block style lies behind the blank lines and comments that follow it.
    if isinstance(node, CollectionNode) and not node.flow_style and node.value:
        last: Any = node.value[-1]
        return _end(last[1] if isinstance(last, tuple) else last)
    return node.end_mark.index
