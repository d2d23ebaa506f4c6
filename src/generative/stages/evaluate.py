"""evaluate: a trained model's figures on the test split, which nothing else looks at."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from generative.catalogue import Catalogue
    from generative.data.store import Dataset
    from generative.models.model import Model
    from generative.params import Training
    from generative.training.device import Place


COMPARED = ("images", "music", "text", "returns")  # modules of metrics/: a kind of data each, and returns of what evolves in a world


def evaluate(name: str) -> None:
    """Measures a trained model on the whole test split, in float32, and writes data/metrics/NAME/figures.json.

    What a model makes is also compared with held-out examples, by the means of its kind of data: for images in the features of its
    judge, beside the same figures of other real images (the floor) and of the untrained model. Where the block names another data set as
    `against`, the model is asked to tell its examples from its own.
    """
    import json

    from generative.catalogue import Catalogue
    from generative.data.store import open_dataset
    from generative.files import write_file
    from generative.stages.command import recorded, use_threads
    from generative.training import checkpoint, device
    from generative.training.descend import held_out

    catalogue = Catalogue.read()
    threads = use_threads(catalogue.raw("models", name))
    params, _ = catalogue.model(name)
    dataset = open_dataset(Path("data/processed") / params.data)
    place = device.place("float32", threads)
    model = checkpoint.trained(name, params, dataset.info, place.device)
    with recorded("evaluate", name, params.model_dump(), data=dataset.info.fingerprint) as record:
        measured = held_out(model, dataset.split("test").to(place.device), place, params, params.steps)
        figures: dict[str, Any] = {"figure": model.figure, **measured}
        judge = None if params.judge == name else _judge(params.judge, catalogue, dataset, place)
        figures |= compared(model, judge, dataset, params, place) | told_apart(model, dataset, params, place)
        rounded = {key: float(f"{value:.6g}") if isinstance(value, float) else value for key, value in figures.items()}
        record.run.metrics({key: value for key, value in rounded.items() if isinstance(value, float)}, params.steps)
        write_file(Path("data/metrics") / name / "figures.json", json.dumps(rounded, indent=1) + "\n")
    print(f"evaluate {name}: " + "  ".join(f"{key} {value}" for key, value in rounded.items()))


def compared(model: Model, judge: Model | None, dataset: Dataset, params: Training, place: Place) -> dict[str, Any]:
    """How what the model makes compares with held-out examples, by the means of its kind of data."""
    import hashlib
    import importlib

    import torch

    from generative.metrics.subject import Subject

    subject = Subject(model, dataset, params, place, judge)
    kind = "returns" if model.can("fitness") else dataset.info.kind
    if not subject.count or kind not in COMPARED:
        return {}
    with torch.no_grad():
        figures = {"compared": subject.count, **importlib.import_module(f"generative.metrics.{kind}").compare(subject)}
    if judge is None:
        return figures
    weights = (Path("data/models") / params.judge / "weights.safetensors").read_bytes()
    return {**figures, "judge": f"{params.judge} {hashlib.sha256(weights).hexdigest()[:12]}"}


def told_apart(model: Model, dataset: Dataset, params: Training, place: Place) -> dict[str, Any]:
    """How well the model tells its data from the data set that its block names for that."""
    import torch

    from generative.data.store import open_dataset
    from generative.metrics.strangers import tell_apart

    if params.against == params.data:
        return {}
    other = open_dataset(Path("data/processed") / params.against)
    with torch.no_grad():
        return {"against": params.against, **tell_apart(model, dataset, other, place, params.seed)}


def _judge(name: str, catalogue: Catalogue, dataset: Dataset, place: Place) -> Model:
    from generative.training import checkpoint

    return checkpoint.trained(name, catalogue.model(name)[0], dataset.info, place.device)


if __name__ == "__main__":
    from generative.stages.command import command_line

    command_line(evaluate, "models")
