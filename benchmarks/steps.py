"""Training steps beside a plain PyTorch loop, Keras and other U-Nets, and how fast the train stage starts: `python -m benchmarks vae`.

Prints tables and writes benchmarks/results.json.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.others import keras_python, unets
from benchmarks.race import PATH, ROOT, WARM_UP, Rounds, Spread, environment, race, ratio
from benchmarks.torch_side import NAME
from benchmarks.worker import cpu_seconds
from generative.catalogue import Catalogue
from generative.data.store import write_dataset

PUBLISHED: dict[str, dict[str, Any]] = {  # the sizes of the published notebooks, whatever params.yaml says
    "autoencoder": {"batch_size": 100, "channels": [32, 64, 128], "latent_size": 2},
    "vae": {"batch_size": 100, "channels": [32, 64, 128], "latent_size": 2},
    "cnn": {"batch_size": 100, "channels": [32, 64], "dense": 128},
    "mlp": {"batch_size": 100, "widths": [200, 150]},
    "diffusion": {"batch_size": 16, "widths": [32, 64, 96, 128], "depth": 2, "embedding_size": 32, "average_decay": 0.999},
}
STEPS = {"autoencoder": 100, "vae": 100, "cnn": 100, "mlp": 1000, "diffusion": 10}  # of a round: seconds, with a checkpoint at least
SHAPE, SHAPES = (1, 32, 32), {"diffusion": (3, 64, 64)}  # of the images: of the default data, and where they are others
IN_KERAS = ("autoencoder", "vae", "diffusion")
TARGETS = {"diffusion": 2.3}  # how many times as fast as Keras, where it is not 1.7
PLAIN, LOOP, STAGE, FLOAT32, TENSORFLOW = "plain loop", "ours", "ours held out", "ours float32", "keras"
UNETS, WARM_UPS = ("diffusers", "lucidrains"), {"diffusion": 2}  # steps before the first round, where they are long
MEANING = {
    PLAIN: "the same network, batches, optimizer and precision in a plain PyTorch loop",
    LOOP: "the train stage: loop, logging, tracking, checkpoints, and the start and end of a run of this many steps",
    STAGE: "the same with held-out figures and a picture at each checkpoint",
    FLOAT32: "the train stage in float32",
    TENSORFLOW: "the network, loss, optimizer and batch in Keras on TensorFlow, compile and fit",
    "diffusers": "its UNet2DModel of the same widths, without attention, in the same plain loop, float32; bf16: as ours",
    "lucidrains": "the Unet of denoising-diffusion-pytorch of the same widths, likewise",
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.steps", description=__doc__)
    parser.add_argument("what", nargs="+", choices=["start", *PUBLISHED], metavar="WHAT")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    models = [name for name in arguments.what if name != "start"]
    with tempfile.TemporaryDirectory() as temporary:
        results = measured(Path(temporary), models, arguments.rounds, with_start="start" in arguments.what)
    if models:
        print("\n" + "\n".join(f"{contestant:15s}{meaning}" for contestant, meaning in MEANING.items()))
    (ROOT / "benchmarks/results.json").write_text(json.dumps(results, indent=1) + "\n")


def measured(folder: Path, models: list[str], rounds: int, with_start: bool) -> dict[str, Any]:
    catalogue, keras = Catalogue.read(), keras_python() if set(models) & set(IN_KERAS) else None
    others = unets() if "diffusion" in models else None
    results: dict[str, Any] = {"rounds": rounds, "times": {}}
    for shape in {SHAPES.get(name, SHAPE) for name in [*models, "vae"]}:
        for validation in (0, 2000):
            make_data(folder / "data" / name_of_data(validation, shape), validation, shape)
    if with_start:
        results["start"] = start_times(folder / "start", catalogue.raw("models", "vae"))
    for name in models:
        block = catalogue.raw("models", name) | PUBLISHED[name]
        commands = contestants(name, block, keras) | (other_unets(block, others) if name == "diffusion" and others else {})
        prepare(folder / name, list(commands))
        results["times"][name] = race(commands, folder / name, STEPS[name], rounds, WARM_UPS.get(name, WARM_UP))
        print_model(name, results["times"][name])
    return results


def contestants(name: str, block: dict[str, Any], keras: Path | None) -> dict[str, list[str]]:
    """The command of each process that takes part."""

    def on_torch(side: str, validation: int = 0, **changes: Any) -> list[str]:
        text = json.dumps(block | {"data": name_of_data(validation, SHAPES.get(name, SHAPE))} | changes)
        return [sys.executable, "-m", "benchmarks.torch_side", side, text]

    commands = {PLAIN: on_torch("plain"), LOOP: on_torch("ours"), STAGE: on_torch("ours", validation=2000)}
    if name in IN_KERAS:
        commands[FLOAT32] = on_torch("ours", precision="float32")
        if keras:
            commands[TENSORFLOW] = [str(keras), "-m", *in_keras(name, block)]
    return commands


def in_keras(name: str, block: dict[str, Any]) -> list[str]:
    """The module of Keras' side and the sizes it is told."""
    if name == "diffusion":
        module, keys = ["benchmarks.keras_diffusion"], ("batch_size", "widths", "depth", "embedding_size")
    else:
        module, keys = ["benchmarks.keras_side", name], ("batch_size", "channels", "latent_size")
    return [*module, *(",".join(map(str, block[key])) if isinstance(block[key], list) else str(block[key]) for key in keys)]


def other_unets(block: dict[str, Any], folder: Path) -> dict[str, list[str]]:
    """Other libraries' U-Nets, as most train them and under our settings of the process."""
    sizes = [str(block["batch_size"]), ",".join(map(str, block["widths"])), str(block["depth"])]
    path = f"PYTHONPATH={PATH}{os.pathsep}{folder}"
    return {
        library + name: ["env", path, sys.executable, "-m", "benchmarks.unets", library, precision, *sizes]
        for precision, name in (("float32", ""), ("bfloat16", " bf16"))
        for library in UNETS
    }


def name_of_data(validation: int, shape: tuple[int, ...] = SHAPE) -> str:
    return f"random_{validation}_{shape[-1]}"


def make_data(folder: Path, validation: int, shape: tuple[int, ...]) -> None:
    """Random images and labels: how long a step takes does not depend on what the pixels show. As many pixels whatever the shape."""
    random, many = np.random.default_rng(0), math.prod(SHAPE) / math.prod(shape)
    counts = {"train": int(20_000 * many), "validation": int(validation * many), "test": 1}
    folder.mkdir(parents=True)
    splits = {
        split: {"x": random.integers(0, 256, (n, *shape), dtype=np.uint8), "y": random.integers(0, 36, n)} for split, n in counts.items()
    }
    write_dataset(folder, splits, name=folder.name, kind="images", classes=[str(k) for k in range(36)])


def prepare(folder: Path, names: list[str]) -> None:
    """A working folder for each contestant, with the data in it."""
    for name in names:
        place = folder / name.replace(" ", "_") / "data"
        place.mkdir(parents=True)
        (place / "processed").symlink_to(folder.parent / "data")


def start_times(folder: Path, block: dict[str, Any]) -> dict[str, dict[str, list[float]]]:
    """Seconds until --help has answered, and until the VAE's first step on data of the default size."""
    prepare(folder, ["vae"])
    entry = block | {"judge": NAME, "data": name_of_data(2000), "against": name_of_data(2000), "log_every": 1}
    content = {"data": {name_of_data(2000): {}}, "models": {NAME: entry}}
    (folder / "vae" / "params.yaml").write_text(json.dumps(content))
    command = [sys.executable, "-m", "generative.stages.train"]
    answers = {"--help": ([*command, "--help"], "usage: "), "first step": ([*command, NAME], f"{NAME}: step 1/")}
    times: dict[str, dict[str, list[float]]] = {what: {"wall": [], "cpu": []} for what in answers}
    for _ in range(5):
        for what, (words, expected) in answers.items():
            wall, cpu = seconds_to(words, folder / "vae", expected)
            times[what]["wall"].append(wall)
            times[what]["cpu"].append(cpu)
    print("\nStart of python -m generative.stages.train: seconds, median (range); without other load wall is about CPU")
    for what, target in (("--help", 0.5), ("first step", 3)):
        wall, cpu = (Spread.of(times[what][clock]).show(2) for clock in ("wall", "cpu"))
        print(f"  {what:14s} wall {wall}   CPU {cpu}   target: below {target}", flush=True)
    return times


def seconds_to(command: list[str], folder: Path, expected: str) -> tuple[float, float]:
    """Wall and CPU seconds until the command prints its first line; then it is stopped."""
    wall, cpu = time.perf_counter(), cpu_seconds()
    process = subprocess.Popen(command, cwd=folder, env=environment(), stdout=subprocess.PIPE, text=True)
    assert process.stdout
    line = process.stdout.readline()
    wall = time.perf_counter() - wall
    process.kill()
    process.communicate()
    if not line.startswith(expected):
        raise RuntimeError(f"{' '.join(command)}: expected a line that begins with {expected!r}, got {line!r}")
    return wall, cpu_seconds() - cpu


def print_model(name: str, times: Rounds) -> None:
    """One table, and how it stands to the targets."""
    print(f"\n{name}: milliseconds a step and ratios of CPU time, median (range) of the rounds, {STEPS[name]} steps each")
    print(f"  {'':15s}{'CPU':>24s}{'wall':>24s}{'time / plain':>20s}{'Keras / time':>20s}")
    for contestant, clocks in times.items():
        cells = [Spread.of(clocks[clock]).show(1) for clock in ("cpu", "wall")]
        against = ratio(times, contestant, PLAIN).show(2)
        keras = ratio(times, TENSORFLOW, contestant).show(2) if TENSORFLOW in times else ""
        print(f"  {contestant:15s}{cells[0]:>24s}{cells[1]:>24s}{against:>20s}{keras:>20s}")
    overhead = (ratio(times, LOOP, PLAIN).median - 1) * 100
    print(f"  the loop, logging and checkpoints cost {overhead:.1f} % (target for autoencoder and vae: at most 5)")
    if TENSORFLOW in times:
        print(
            f"  {ratio(times, TENSORFLOW, LOOP).median:.2f} times as fast as Keras (target: at least {TARGETS.get(name, 1.7)})", flush=True
        )


if __name__ == "__main__":
    main()
