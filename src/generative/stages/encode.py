"""encode: makes the data of a second phase by passing a data set through the trained model of the first."""

from __future__ import annotations

from pathlib import Path


def encode(name: str) -> None:
    """Passes a data set through a frozen model and stores what comes out, with the model beside it, in data/processed/NAME."""
    import shutil

    import torch

    from generative.catalogue import Catalogue
    from generative.data.store import SPLITS, open_dataset, write_dataset
    from generative.files import new_folder
    from generative.stages.command import recorded, use_threads
    from generative.training.checkpoint import trained
    from generative.training.device import place

    catalogue = Catalogue.read()
    encoding = catalogue.encoding(name)
    first = Path("data/models") / encoding.model
    dataset = open_dataset(Path("data/processed") / encoding.data)
    with recorded("encode", name, encoding.model_dump(), data=dataset.info.fingerprint), torch.no_grad():
        here = place("float32", use_threads(catalogue.raw("models", encoding.model)))
        model = trained(encoding.model, catalogue.model(encoding.model)[0], dataset.info, here.device)
        splits = {}
        for split in SPLITS:
            parts = [model.encode(here.take(batch)) for batch in dataset.split(split).batches(encoding.batch_size)]
            arrays = {key: torch.cat([part[key] for part in parts]).cpu() for key in parts[0]}
            if dataset.info.sequence > 1:
                arrays = {key: array.unflatten(0, (-1, dataset.info.sequence)) for key, array in arrays.items()}
            splits[split] = {key: array.numpy() for key, array in arrays.items()}
        with new_folder(Path("data/processed") / name) as folder:
            write_dataset(
                folder,
                splits,
                name=name,
                kind="codes",
                classes=dataset.info.classes,
                attributes=dataset.info.attributes,
                values=dataset.info.values,
            )
            shutil.copytree(first, folder / "model")  # so that the codes can be turned back into what a person looks at
            for part in ("model", "before"):
                if (dataset.folder / part).exists():
                    shutil.copytree(dataset.folder / part, folder / "before" / part)


if __name__ == "__main__":
    from generative.stages.command import command_line

    command_line(encode, "encodings")
