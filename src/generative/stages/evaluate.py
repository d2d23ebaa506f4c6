"""evaluate: a trained model's figures on the test split, which nothing else looks at."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from generative.data.store import Dataset
    from generative.models.model import Model
    from generative.params import Training
    from generative.training.device import Place


def evaluate(name: str) -> None:
    """Measures a trained model on the whole test split, in float32, and writes data/metrics/NAME/figures.json.

    A model with a judge is also compared by its samples: FID and KID in the judge's features, beside the same figures of real training
    images (the floor) and of the untrained model.
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
        if params.judge != name and model.can("sample"):
            network = checkpoint.trained(params.judge, catalogue.model(params.judge)[0], dataset.info, place.device)
            figures |= judged(model, network, dataset, params, place)
        rounded = {key: float(f"{value:.6g}") if isinstance(value, float) else value for key, value in figures.items()}
        record.run.metrics({key: value for key, value in rounded.items() if isinstance(value, float)}, params.steps)
        write_file(Path("data/metrics") / name / "figures.json", json.dumps(rounded, indent=1) + "\n")
    print(f"evaluate {name}: " + "  ".join(f"{key} {value}" for key, value in rounded.items()))


def judged(model: Model, network: Model, dataset: Dataset, params: Training, place: Place) -> dict[str, Any]:
    """FID and KID of as many samples as there are test images (5,000 at most), of real images and of the untrained model."""
    import hashlib

    import torch

    from generative.metrics.fid import Judge
    from generative.training import device

    count = min(5000, dataset.info.counts["test"], dataset.info.counts["train"])
    device.seed(params.seed)
    untrained = type(model)(params, dataset.info).eval()  # type: ignore[call-arg]
    place.put(untrained)
    with torch.no_grad():
        train, test = (dataset.split(split)[:count]["x"] for split in ("train", "test"))
        judge = Judge(lambda x: network.features(place.take({"x": x})), train, test)
        device.seed(params.seed)
        figures = judge.compare(torch.cat([model.sample(n) for n in _portions(count)]))
        figures |= {f"{key}_floor": value for key, value in judge.compare(train).items()}
        figures |= {
            f"{key}_untrained": value for key, value in judge.compare(torch.cat([untrained.sample(n) for n in _portions(count)])).items()
        }
    weights = (Path("data/models") / params.judge / "weights.safetensors").read_bytes()
    return {**figures, "compared": count, "judge": f"{params.judge} {hashlib.sha256(weights).hexdigest()[:12]}"}


def _portions(count: int, size: int = 500) -> list[int]:
    return [min(size, count - start) for start in range(0, count, size)]


if __name__ == "__main__":
    from generative.stages.command import command_line

    command_line(evaluate, "models")
