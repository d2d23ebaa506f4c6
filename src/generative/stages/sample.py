"""sample: what a person looks at, made by a trained model and written as pictures, texts and tables."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from generative.data.store import Dataset
    from generative.models.exhibit import Exhibit

EXAMPLES = 2000  # held-out examples that a model may show something about
OPTIONS = {
    "count": "how many (16)",
    "seed": "of the random numbers (0)",
    "out": "a folder that is not there yet (samples_NAME)",
    "prompt": "what the texts begin with, for models that write",
    "continue": "a MIDI file to go on from, for models of melodies",
    "label": "the class to sample, for models that take one",
}


def sample(name: str, **again: str) -> None:
    """Lets a trained model show what it does: pictures in data/samples/NAME, what is no picture in data/pieces/NAME, captions in NAME.json.

    With any option it samples a trained model once more instead, into a folder of your own. A model's own options are taken too, such as
    --steps 50 of diffusion or --temperature 0.8 of what draws token by token.
    """
    import json
    import shutil

    import torch

    from generative.catalogue import Catalogue
    from generative.data.store import open_dataset
    from generative.files import PICTURES, exhibit_file, new_folder, write_file
    from generative.stages.command import recorded, use_threads
    from generative.stages.pictures import draw
    from generative.stages.viewer import viewer
    from generative.training import checkpoint, device

    if again:
        from generative.stages.again import again as sample_again

        sample_again(name, again)
        return
    catalogue = Catalogue.read()
    threads = use_threads(catalogue.raw("models", name))
    params, _ = catalogue.model(name)
    dataset = open_dataset(Path("data/processed") / params.data)
    place = device.place("float32", threads)
    model = checkpoint.trained(name, params, dataset.info, place.device)
    with recorded("sample", name, params.model_dump(), data=dataset.info.fingerprint) as record, torch.no_grad():
        device.seed(params.seed)
        exhibits = [_completed(exhibit, dataset) for exhibit in model.exhibits(place.take(dataset.split("test")[:EXAMPLES]))]
        look = viewer(dataset, place.device)
        captions: dict[str, str] = {}
        with new_folder(Path("data/pieces") / name) as pieces, new_folder(Path("data/samples") / name) as pictures:
            for exhibit in exhibits:
                captions |= draw(exhibit, pictures, look)
            for file in sorted(pictures.iterdir()):
                if file.suffix not in PICTURES:
                    shutil.move(file, pieces / file.name)
        write_file(Path("data/samples") / f"{name}.json", json.dumps(captions, indent=1) + "\n")
        for file in captions:
            if Path(file).suffix in PICTURES:
                record.run.image(Path(file).stem, exhibit_file(name, file), params.steps)
    print(f"sample {name}: {', '.join(captions)} in data/samples/{name}")


def _completed(exhibit: Exhibit, dataset: Dataset) -> Exhibit:
    """A sheet that asks for the nearest training images with a row of them under each of its own."""
    import dataclasses

    import torch

    from generative.models.exhibit import Sheet

    if not (isinstance(exhibit, Sheet) and exhibit.nearest):
        return exhibit
    rows, train = exhibit.images.cpu(), dataset.split("train")
    flat = rows.flatten(0, 1).flatten(1)
    distances = torch.cat([torch.cdist(flat, part["x"].flatten(1)) for part in train.batches(500)], dim=1)
    nearest = train[distances.argmin(1)]["x"].unflatten(0, rows.shape[:2])
    titles = exhibit.rows or [""] * len(rows)
    return dataclasses.replace(
        exhibit,
        images=torch.stack([rows, nearest], dim=1).flatten(0, 1),
        rows=[title for row in titles for title in (row, "nearest in training")],
    )


if __name__ == "__main__":
    from generative.stages.command import command_line

    command_line(sample, "models", OPTIONS)
