"""train: descends a model's objectives on its data, or evolves it, from the last checkpoint if it was interrupted."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from generative.data.store import Dataset, Info
    from generative.models.model import Model
    from generative.params import Training
    from generative.stages.command import Record
    from generative.training.checkpoint import Work
    from generative.training.device import Place
    from generative.training.progress import Progress
    from generative.training.tracking import Run

PICTURES = 32  # samples drawn at each checkpoint, to be watched in MLflow while training goes on


def train(name: str) -> None:
    """Trains a model of the catalogue and writes it to data/models/NAME, its curve to data/metrics/NAME/curve.csv.

    An interrupted training goes on from its last checkpoint when the command is given again. Several processes share one training under
    `torchrun --nproc-per-node N -m generative.stages.train NAME`. GENERATIVE_DEVICE (cpu or cuda) chooses the device.
    """
    from generative.files import new_folder, write_file
    from generative.training import checkpoint
    from generative.training.learn import learn

    model, params, dataset, place, work = ready = begin(name)
    if not place.first:
        learn(*ready)
        return
    with ExitStack() as stack:
        record, progress, tags = watched(stack, "train", name, ready)
        run = record.run

        def watch(step: int, row: dict[str, float]) -> None:
            progress(step, row)
            run.metrics({key: value for key, value in row.items() if key != "step"}, step)
            if any(key.startswith("validation/") for key in row):
                _picture(model, dataset.info, run, work.folder, step)

        curve = learn(*ready, watch)
        record.seconds = curve.seconds
        with new_folder(Path("data/models") / name) as folder:
            checkpoint.save(folder, model, params, dataset.info)
            if model.can("receive"):
                checkpoint.keep_frozen(dataset.folder, folder)
        write_file(Path("data/metrics") / name / "curve.csv", curve.csv())
        run.model(Path("data/models") / name, tags)
        work.file.unlink()


class Beginning(NamedTuple):
    """A training that has not begun, or will go on."""

    model: Model
    params: Training
    dataset: Dataset
    place: Place
    work: Work


def begin(name: str) -> Beginning:
    """Makes ready to train an entry of the catalogue."""
    from generative.catalogue import Catalogue
    from generative.data.store import open_dataset
    from generative.stages.command import use_threads
    from generative.training import checkpoint, device

    catalogue = Catalogue.read()
    threads = use_threads(catalogue.raw("models", name))
    params, kind = catalogue.model(name)
    dataset = open_dataset(Path("data/processed") / params.data)
    place = device.place(params.precision, threads)
    device.seed(params.seed)
    model = checkpoint.build(kind, params, dataset.info)
    work = checkpoint.Work(Path("data/work") / name, checkpoint.fingerprint(params, dataset.info, place.world))
    return Beginning(model, params, dataset, place, work)


def watched(stack: ExitStack, stage: str, name: str, ready: Beginning) -> tuple[Record, Progress, dict[str, str]]:
    """Takes hold of the training's work folder, and opens the record of its run and its line of progress; gives the run's tags too."""
    from generative.files import sole_owner
    from generative.stages.command import recorded
    from generative.training import device
    from generative.training.progress import Progress

    params = ready.params
    stack.enter_context(sole_owner(ready.work.folder))
    tags = {"data": ready.dataset.info.fingerprint, "device": device.describe(ready.place.device)}
    record = stack.enter_context(recorded(stage, name, params.model_dump(), **tags))
    return record, stack.enter_context(Progress(name, params.steps, params.batch_size * params.accumulate)), tags


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
