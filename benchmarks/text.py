"""Language models at the published sizes, on one thread: a step beside plain PyTorch and Keras, and writing beside Hugging Face's GPT-2.

    python -m benchmarks.text [--rounds N]

Texts are random words of random lengths, three quarters of a row on average, the rest padding; the published loss is over the padding too.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.others import keras_python
from benchmarks.race import Rounds, Spread, race, ratio

WORDS, BATCH = 10_000, 32
LENGTH = {"gpt": 80, "lstm": 200}
SIZES: dict[str, dict[str, Any]] = {  # of the published notebooks, whatever params.yaml says
    "gpt": {"blocks": 1, "width": 256, "heads": 2, "head_size": 256, "hidden": 256, "dropout": 0.1},
    "lstm": {"cell": "lstm", "embedding": 100, "units": 128},
}
STEPS, WARM_UP = {"gpt": 5, "lstm": 3, "write": 3}, 2  # of a round, and before the first
OURS, FLOAT32, PLAIN, PLAIN16, KERAS = "ours", "ours float32", "plain", "plain bfloat16", "keras"
WRITTEN = 16  # texts that are written at once


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.text", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    keras = keras_python()
    with tempfile.TemporaryDirectory() as temporary:
        for name in SIZES:
            show(name, step_times(name, Path(temporary) / name, keras, rounds))
        show_writing(writing_times(Path(temporary) / "write", rounds))


def texts(name: str) -> NDArray[np.int64]:
    """(320, T) random texts of random lengths, then stops."""
    random, length = np.random.default_rng(0), LENGTH[name]
    x = random.integers(2, WORDS, (10 * BATCH, length))
    x[np.arange(length) >= random.integers(length // 2, length + 1, len(x))[:, None]] = 0
    return x


def block(name: str) -> dict[str, Any]:
    from generative.catalogue import Catalogue

    return Catalogue.read().raw("models", name) | SIZES[name] | {"data": f"texts_{name}"}


def prepare(folder: Path, name: str, contestants: list[str]) -> None:
    """A working folder for each contestant, with the data in it."""
    from generative.data.store import write_dataset

    words = ["<stop>", "<unknown>", *(f" w{n}" for n in range(2, WORDS))]
    splits = {split: {"x": texts(name)[: None if split == "train" else 0]} for split in ("train", "validation", "test")}
    for contestant in contestants:
        place = folder / contestant.replace(" ", "_")
        data = place / "data/processed" / f"texts_{name}"
        data.mkdir(parents=True)
        write_dataset(data, splits, name=data.name, kind="text", vocabulary={"text": words})
        content = {"data": {data.name: {}}, "models": {"contestant": block(name) | {"judge": "contestant", "against": data.name}}}
        (place / "params.yaml").write_text(json.dumps(content))
    np.save(folder / "texts.npy", texts(name))


def step_times(name: str, folder: Path, keras: Path | None, rounds: int) -> Rounds:
    sides = {PLAIN: ("plain", "float32"), OURS: ("ours", "bfloat16"), FLOAT32: ("ours", "float32"), PLAIN16: ("plain", "bfloat16")}
    commands = {side: [sys.executable, "-m", "benchmarks.text_torch", kind, name, precision] for side, (kind, precision) in sides.items()}
    if keras:
        commands[KERAS] = [str(keras), "-m", "benchmarks.text_keras", name, str(folder / "texts.npy"), str(WORDS), str(BATCH)]
    prepare(folder, name, list(commands))
    return race(commands, folder, STEPS[name], rounds, WARM_UP)


def writing_times(folder: Path, rounds: int) -> Rounds:
    sides = ["ours", *(["transformers"] if importlib.util.find_spec("transformers") else [])]
    prepare(folder, "gpt", sides)
    commands = {side: [sys.executable, "-m", "benchmarks.text_torch", "write", side] for side in sides}
    return race(commands, folder, STEPS["write"], rounds, WARM_UP)


def show(name: str, times: Rounds) -> None:
    padding = 100 * float((texts(name) == 0).mean())
    print(
        f"\n{name}: milliseconds of CPU a step, median (range); {BATCH} texts of {LENGTH[name]} of {WORDS:,} words, {padding:.0f} % padding"
    )
    for contestant, clocks in times.items():
        against = "".join(f"   {ratio(times, other, contestant).show(2)} x {other}" for other in (PLAIN, KERAS) if other in times)
        print(f"  {contestant:15s}{Spread.of(clocks['cpu']).show(0):>18s}{against}")
    print("  target of ours: at least 1.9 times plain, 2.2 times Keras", flush=True)


def show_writing(times: Rounds) -> None:
    print(f"\nwriting with a cache, float32: tokens a second of CPU, median (range); {WRITTEN} texts of {LENGTH['gpt']} words at once")
    for side, clocks in times.items():
        print(f"  {side:15s}{Spread.of([1000 * WRITTEN * LENGTH['gpt'] / each for each in clocks['cpu']]).show(0)}")
    if "transformers" not in times:
        print("  Hugging Face's GPT-2 is left out: transformers is not installed here")
    print("  target of ours: at least as fast", flush=True)


if __name__ == "__main__":
    main()
