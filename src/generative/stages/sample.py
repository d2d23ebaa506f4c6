"""sample: what a person looks at, made by a trained model and drawn as pictures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from generative.data.store import Dataset

EXAMPLES = 2000  # held-out examples that a model may show something about


def sample(name: str) -> None:
    """Lets a trained model show what it does: pictures in data/samples/NAME, captions in NAME.json beside it."""
    import json

    import torch

    from generative.catalogue import Catalogue
    from generative.data.store import open_dataset
    from generative.files import new_folder, write_file
    from generative.stages.command import recorded, use_threads
    from generative.stages.pictures import draw
    from generative.training import checkpoint, device

    catalogue = Catalogue.read()
    threads = use_threads(catalogue.raw("models", name))
    params, _ = catalogue.model(name)
    dataset = open_dataset(Path("data/processed") / params.data)
    place = device.place("float32", threads)
    model = checkpoint.trained(name, params, dataset.info, place.device)
    with recorded("sample", name, params.model_dump(), data=dataset.info.fingerprint) as record, torch.no_grad():
        device.seed(params.seed)
        exhibits = model.exhibits(place.take(dataset.split("test")[:EXAMPLES]))
        look = viewer(dataset, place.device)
        with new_folder(Path("data/samples") / name) as folder:
            for exhibit in exhibits:
                draw(exhibit, folder / f"{exhibit.name}.png", look)
        captions = {exhibit.name: exhibit.caption for exhibit in exhibits}
        write_file(Path("data/samples") / f"{name}.json", json.dumps(captions, indent=1) + "\n")
        for exhibit in exhibits:
            record.run.image(exhibit.name, Path("data/samples") / name / f"{exhibit.name}.png", params.steps)
    print(f"sample {name}: {', '.join(captions)} in data/samples/{name}")


def viewer(dataset: Dataset, device: torch.device) -> Callable[[Tensor], Tensor]:
    """Turns a data set's own examples back into what a person looks at: codes pass through the frozen model that stands beside them."""
    from generative.training import checkpoint

    if not (dataset.folder / "model").exists():
        return lambda x: x
    first = checkpoint.load(dataset.folder / "model", device)
    return first.decode


if __name__ == "__main__":
    from generative.stages.command import command_line

    command_line(sample, "models")
