"""Our side: the training stage as it is, and the same network in a plain loop with nothing around it.

Runs in a folder of its own that holds the data: `python -m benchmarks.torch_side ours '{"model": "autoencoders/vae", ...}'`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.worker import serve

NAME = "contestant"


def write_params(block: dict[str, Any]) -> None:
    """A catalogue of this one model; JSON is YAML too."""
    content = {"data": {block["data"]: {}}, "models": {NAME: block | {"judge": NAME, "against": block["data"]}}}
    Path("params.yaml").write_text(json.dumps(content))


def ours(block: dict[str, Any]) -> Callable[[int], None]:
    """The stage from its beginning to its end, on the block with another number of steps."""
    from generative.stages.train import train

    def run(steps: int) -> None:
        write_params(block | {"steps": steps})
        train(NAME)

    return run


def plain(block: dict[str, Any]) -> Callable[[int], None]:
    """The loop that everybody writes, on the same data, under the same settings of the process."""
    import torch

    from generative.catalogue import Catalogue
    from generative.data.store import open_dataset
    from generative.training.device import place

    write_params(block)
    params, kind = Catalogue.read().model(NAME)
    dataset = open_dataset(Path("data/processed") / params.data)
    place(params.precision, params.threads)
    torch.manual_seed(params.seed)
    model = kind(params, dataset.info).to(memory_format=torch.channels_last)  # type: ignore[call-arg]
    [objective] = model.objectives()
    everything = dataset.split("train")[:]
    everything["x"] = everything["x"].contiguous(memory_format=torch.channels_last)

    def run(steps: int) -> None:
        examples, shuffled = len(everything["x"]), torch.Generator().manual_seed(params.seed)
        passes = -(-steps * params.batch_size // examples)
        order = torch.cat([torch.randperm(examples, generator=shuffled) for _ in range(passes)])
        for step, rows in enumerate(order[: steps * params.batch_size].split(params.batch_size)):
            batch = {key: values[rows] for key, values in everything.items()}
            with torch.autocast("cpu", torch.bfloat16, enabled=params.precision == "bfloat16"):
                loss, _ = objective.loss(batch)
            objective.optimizer.zero_grad()
            loss.backward()
            objective.optimizer.step()
            model.after_step(step)

    return run


if __name__ == "__main__":
    side, text = sys.argv[1:]
    serve({"ours": ours, "plain": plain}[side](json.loads(text)))
