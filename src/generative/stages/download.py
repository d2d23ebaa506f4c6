"""download: brings a data set's own files to data/raw/NAME, from its source, from a mirror, or drawn from a seed."""

from __future__ import annotations

from pathlib import Path


def download(name: str) -> None:
    """Brings the files of a data set to data/raw/NAME.

    Sources of the network name each file's checksum. The environment variable GENERATIVE_MIRROR (a folder or a base URL, laid out as
    <data set>/<file>) is looked at first, under the same checksums.
    """
    from generative.catalogue import Catalogue
    from generative.files import new_folder
    from generative.stages.command import recorded

    source, module = Catalogue.read().source(name)
    with recorded("download", name, source.model_dump()), new_folder(Path("data/raw") / name) as folder:
        module.download(source, name, folder)


if __name__ == "__main__":
    from generative.stages.command import command_line

    command_line(download, "data")
