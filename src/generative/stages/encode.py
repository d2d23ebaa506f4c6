"""encode: makes the data of a second phase by passing a data set through the trained model of the first."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from generative.data.store import Dataset, Info
    from generative.models.model import Model
    from generative.training.device import Place

Splits = dict[str, dict[str, "NDArray[Any]"]]
ALIKE = ("kind", "shape", "sequence")  # what two data sets must have in common where one does for the other
SILENT = 1e-3  # standard deviation of codes, where the prior's is 1, that tell nothing


def encode(name: str) -> None:
    """Passes a data set through a frozen model and stores what comes out in data/processed/NAME.

    Codes have the model beside them, so that they can be turned back into what a person looks at. Episodes of pictures, uint8
    (B, T, C, H, W), are as complete as if a data set's own source had made them. What is made follows the examples of `beside`.

    Raises:
        UsageError: all codes are the same, as those of an encoder are that fell silent in training; the data are not like those that the
            model was trained on; or what is to be kept is not like what was made. What stood there stays.
    """
    from generative.catalogue import Catalogue
    from generative.data.store import SPLITS, open_dataset, write_dataset
    from generative.errors import UsageError
    from generative.files import new_folder
    from generative.stages.command import recorded, use_threads
    from generative.training.checkpoint import read_record, trained
    from generative.training.device import place

    catalogue = Catalogue.read()
    encoding = catalogue.encoding(name)
    dataset = open_dataset(Path("data/processed") / encoding.data)
    with recorded("encode", name, encoding.model_dump(), data=dataset.info.fingerprint):
        here = place("float32", use_threads(catalogue.raw("models", encoding.model)))
        block, home, where = catalogue.model(encoding.model)[0], dataset.info, f"params.yaml: encodings.{name}"
        if encoding.data != block.data:
            home = read_record(Path("data/models") / encoding.model)[2]
            _refuse_unlike(home.model_dump(), dataset.info, f"{where}.data: expected examples like those of {block.data}")
        model = trained(encoding.model, block, home, here.device)
        splits = {split: _passed(model, dataset, split, encoding.batch_size, here) for split in SPLITS}
        facts: dict[str, Any] = {"kind": "codes", "sequence": 1}
        if (x := splits["train"]["x"]).dtype == "uint8":
            facts = {"kind": "images", "sequence": x.shape[1]}
            splits = {split: {key: rows.reshape(-1, *rows.shape[2:]) for key, rows in part.items()} for split, part in splits.items()}
        else:
            _refuse_silent(encoding.model, x.reshape(-1, x.shape[-1]))
        if encoding.beside != encoding.data:
            kept, made = open_dataset(Path("data/processed") / encoding.beside), {**facts, "shape": list(splits["train"]["x"].shape[1:])}
            _refuse_unlike(made, kept.info, f"{where}.beside: expected examples like those that are made")
            if made["kind"] == "codes" and (by := catalogue.encoding(encoding.beside).model) != encoding.model:
                raise UsageError(f"{where}.beside: expected codes of {encoding.model}, got {encoding.beside}, of {by}")
            splits = _after(kept, splits)
        known = {key: getattr(dataset.info, key) for key in ("classes", "attributes", "values")}
        with new_folder(Path("data/processed") / name) as folder:
            write_dataset(folder, splits, name=name, **known, **facts)
            if facts["kind"] == "codes":
                _keep(Path("data/models") / encoding.model, dataset, folder)


def _passed(model: Model, dataset: Dataset, split: str, size: int, here: Place) -> dict[str, NDArray[Any]]:
    """What the model makes of a split; of episodes, one example each."""
    import torch

    with torch.no_grad():
        parts = [model.encode(here.take(batch)) for batch in dataset.split(split).batches(size)]
    arrays = {key: torch.cat([part[key] for part in parts]).cpu() for key in parts[0]}
    if dataset.info.sequence > 1:
        arrays = {key: array.unflatten(0, (-1, dataset.info.sequence)) for key, array in arrays.items()}
    return {key: array.numpy() for key, array in arrays.items()}


def _refuse_unlike(expected: Mapping[str, Any], got: Info, message: str) -> None:
    from generative.errors import UsageError

    facts = {key: getattr(got, key) for key in ALIKE}
    if facts != (wanted := {key: expected[key] for key in ALIKE}):
        raise UsageError(f"{message}, {wanted}, got {got.name} with {facts}")


def _after(kept: Dataset, splits: Splits) -> Splits:
    """The splits of a data set, each with what was made behind it; what only one of them knows is -1 in the other."""
    import numpy as np

    joined = {}
    for split, new in splits.items():
        old = {key: array.numpy() for key, array in kept.split(split).arrays.items()}
        for part, other in ((old, new), (new, old)):
            for key in other.keys() - part.keys():
                part[key] = np.full((len(part["x"]), *other[key].shape[1:]), -1, other[key].dtype)
        joined[split] = {key: np.concatenate([old[key], new[key]]) for key in old}
    return joined


def _refuse_silent(model: str, codes: NDArray[Any]) -> None:
    """Nothing could be learnt from codes (N, Z) that are all the same, and a search upon them would only show it after an hour."""
    from generative.errors import UsageError

    if not (spread := float(codes.std(0).max())) > SILENT:
        expected = f"expected codes that tell examples apart, got {len(codes)} whose numbers deviate by {spread:.1g} at most"
        raise UsageError(f"data/models/{model}: {expected}; its encoder fell silent: train it with a lower learning_rate or another seed")


def _keep(model: Path, dataset: Dataset, folder: Path) -> None:
    """Puts the model, and those that made the data set it was given, beside the codes."""
    import shutil

    shutil.copytree(model, folder / "model")
    for part in ("model", "before"):
        if (dataset.folder / part).exists():
            shutil.copytree(dataset.folder / part, folder / "before" / part)


if __name__ == "__main__":
    from generative.stages.command import command_line

    command_line(encode, "encodings")
