"""The whole of params.yaml, each block typed by the file it names, and every reference between blocks resolved."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from generative import data, models, params
from generative.errors import UsageError
from generative.params import PARAMS_FILE, Encoding, Source, Training, closest, shown

if TYPE_CHECKING:
    from generative.models.model import Model


@dataclass(frozen=True)
class Catalogue:
    content: dict[str, dict[str, Any]]
    path: Path

    @classmethod
    def read(cls, path: Path = PARAMS_FILE) -> Catalogue:
        return cls(params.read(path), path)

    def raw(self, section: str, name: str) -> dict[str, Any]:
        """The block as it stands in the file."""
        return params.block(self.content, section, name, self.path)

    def source(self, name: str) -> tuple[Source, ModuleType]:
        raw, where = self.raw("data", name), f"{self.path}: data.{name}"
        module = data.find(_named_file(raw, "source", where), f"{where}.source")
        return params.typed(module.Params, raw, where), module

    def encoding(self, name: str) -> Encoding:
        where = f"{self.path}: encodings.{name}"
        encoding = params.typed(Encoding, self.raw("encodings", name), where)
        self._exists(f"{where}.data", encoding.data, "data", "encodings")
        self._exists(f"{where}.beside", encoding.beside, "data", "encodings")
        origins = params.origins(self.content, name)
        if name in origins:
            chain = [name, origins[name]]
            while chain[-1] != name:
                chain.append(origins[chain[-1]])
            raise UsageError(f"{where}: made of itself: {' from '.join(reversed(chain))}")
        self._exists(f"{where}.model", encoding.model, "models")
        _, kind = self.model(encoding.model)
        if not kind.can("encode"):
            raise UsageError(f"{where}.model: {encoding.model} does not encode")
        trained_on = self.raw("models", encoding.model)["data"]
        if trained_on != encoding.data and trained_on not in params.origins(self.content, encoding.data):
            raise UsageError(f"{where}.model: {encoding.model} is trained on {trained_on}, not on {encoding.data}")
        return encoding

    def model(self, name: str) -> tuple[Training, type[Model]]:
        raw, where = self.raw("models", name), f"{self.path}: models.{name}"
        typed, kind = models.find(_named_file(raw, "model", where), f"{where}.model")
        block = params.typed(typed, raw, where)
        self._exists(f"{where}.data", block.data, "data", "encodings")
        self._check_against(f"{where}.against", block, kind)
        self._check_judge(name, block)
        return block, kind

    def check(self) -> None:
        """Raises: UsageError: the first fault of any block."""
        for name in self.content["data"]:
            self.source(name)
            if name in self.content["encodings"]:
                raise UsageError(f"{self.path}: encodings.{name}: a data set has this name already")
        for name in self.content["encodings"]:
            self.encoding(name)
        for name in self.content["models"]:
            self.model(name)

    def _exists(self, where: str, name: str, *sections: str) -> None:
        there = [entry for section in sections for entry in self.content[section]]
        if name not in there:
            raise UsageError(f"{where}: no {shown(name, plain=False)} in {' or '.join(sections)}{closest(name, there)}")

    def _check_against(self, where: str, block: Training, kind: type[Model]) -> None:
        self._exists(where, block.against, "data", "encodings")
        if block.against != block.data and not kind.can("strangeness"):
            raise UsageError(f"{where}: {block.model} has no figure for it; expected its own data, {block.data}, got {block.against}")

    def _check_judge(self, name: str, block: Training) -> None:
        if block.judge == name:
            return
        where = f"{self.path}: models.{name}.judge"
        self._exists(where, block.judge, "models")
        judge = self.raw("models", block.judge)
        if judge.get("data") != block.data:
            raise UsageError(f"{where}: {block.judge} knows {shown(judge.get('data'))}, but {name} is trained on {block.data}")
        at = f"{self.path}: models.{block.judge}"
        _, kind = models.find(_named_file(judge, "model", at), f"{at}.model")
        if not kind.can("features"):
            raise UsageError(f"{where}: {block.judge} is no classifier; a judge has features")


def _named_file(raw: dict[str, Any], key: str, where: str) -> str:
    if key not in raw:
        raise UsageError(f"{where}.{key}: missing; nothing has a default")
    if not isinstance(raw[key], str):
        raise UsageError(f"{where}.{key}: expected the name of a file, got {shown(raw[key])}")
    return raw[key]
