"""train: descends a model's objectives on its data, from the last checkpoint if it was interrupted."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from generative.data.store import Info
    from generative.models.model import Model
    from generative.training.tracking import Run

PICTURES = 32  # samples drawn at each checkpoint, to be watched in MLflow while training goes on


def train(name: str) -> None:
    """Trains a model of the catalogue and writes it to data/models/NAME, its curve to data/metrics/NAME/curve.csv.

    An interrupted training goes on from its last checkpoint when the command is given again. Several processes share one training under
    `torchrun --nproc-per-node N -m generative.stages.train NAME`. GENERATIVE_DEVICE (cpu or cuda) chooses the device.
    """
    from generative.catalogue import Catalogue
    from generative.data.store import open_dataset
    from generative.files import new_folder, sole_owner, write_file
    from generative.stages.command import recorded, use_threads
    from generative.training import checkpoint, device
    from generative.training.descend import descend
    from generative.training.progress import Progress

    catalogue = Catalogue.read()
    threads = use_threads(catalogue.raw("models", name))
    params, kind = catalogue.model(name)
    dataset = open_dataset(Path("data/processed") / params.data)
    place = device.place(params.precision, threads)
    device.seed(params.seed)
    model = checkpoint.build(kind, params, dataset.info)
    work = checkpoint.Work(Path("data/work") / name, checkpoint.fingerprint(params, dataset.info, place.world))
    train_split, validation = (dataset.split(split).to(place.device) for split in ("train", "validation"))
    if not place.first:
        descend(model, params, train_split, validation, place, work)
        return
    with ExitStack() as stack:
        stack.enter_context(sole_owner(work.folder))
        tags = {"data": dataset.info.fingerprint, "device": device.describe(place.device)}
        record = stack.enter_context(recorded("train", name, params.model_dump(), **tags))
        run = record.run
        progress = stack.enter_context(Progress(name, params.steps, params.batch_size * params.accumulate))

        def watch(step: int, row: dict[str, float]) -> None:
            progress(step, row)
            run.metrics({key: value for key, value in row.items() if key != "step"}, step)
            if any(key.startswith("validation/") for key in row):
                _picture(model, dataset.info, run, work.folder, step)

        curve = descend(model, params, train_split, validation, place, work, watch)
        record.seconds = curve.seconds
        with new_folder(Path("data/models") / name) as folder:
            checkpoint.save(folder, model, params, dataset.info)
        write_file(Path("data/metrics") / name / "curve.csv", curve.csv())
        run.model(Path("data/models") / name, tags)
        work.file.unlink()


def _picture(model: Model, info: Info, run: Run, folder: Path, step: int) -> None:
    """Shows what the model makes at this step, always from the same random numbers."""
    if not model.can("sample") or info.kind != "images":
        return
    import torch

    from generative.files import naming
    from generative.models.exhibit import Sheet
    from generative.stages.pictures import draw
    from generative.training.device import seed

    model.eval()
    with torch.no_grad():
        seed(PICTURES)
        images = model.sample(PICTURES).unflatten(0, (2, PICTURES // 2))
    model.train()
    with naming(folder / "samples.png"):
        draw(Sheet("samples", "", images), folder)
    run.image("samples", folder / "samples.png", step)


if __name__ == "__main__":
    from generative.stages.command import command_line

    command_line(train, "models")
