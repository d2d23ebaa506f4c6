"""preprocess: turns data/raw/NAME into the one format that models train on, data/processed/NAME."""

from __future__ import annotations

from pathlib import Path


def preprocess(name: str) -> None:
    """Turns the files of a data set into arrays of its training, validation and test split in data/processed/NAME."""
    from generative.catalogue import Catalogue
    from generative.files import new_folder
    from generative.stages.command import recorded

    source, module = Catalogue.read().source(name)
    with recorded("preprocess", name, source.model_dump()), new_folder(Path("data/processed") / name) as folder:
        info = module.preprocess(source, name, Path("data/raw") / name, folder)
    for note in info.notes:
        print(f"preprocess {name}: {note}")
    print(f"preprocess {name}: {', '.join(f'{count:,} {split}' for split, count in info.counts.items())}")


if __name__ == "__main__":
    from generative.stages.command import command_line

    command_line(preprocess, "data")
