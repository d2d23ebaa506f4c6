"""Evolution: it climbs, goes on where it was killed, and is the same however many processes answer, in whatever order."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch
from bowl import at_once, dying, endless, late, refusing, worth
from torch import Tensor, nn

from generative.data.store import Batch
from generative.errors import UsageError
from generative.models.exhibit import Exhibit
from generative.models.model import Model, Objective
from generative.params import Evolution
from generative.training import evolve as evolution
from generative.training.checkpoint import Work
from generative.training.device import Place
from generative.training.evolve import Chunk, Search, evolve, trial_seeds, trials
from generative.training.workers import WorkerLostError, Workers

HERE = Place(torch.device("cpu"), 0, 1, "float32")
BLOCK: dict[str, Any] = {
    **{"model": "bowl", "data": "none", "against": "none", "judge": "none", "compared": 0, "seed": 5, "steps": 8, "batch_size": 8},
    **{"accumulate": 2, "learning_rate": 0.3, "schedule": "constant", "clip_norm": 0.0, "precision": "float32", "threads": 1},
    **{"log_every": 1, "checkpoint_every": 3, "chunk": 5, "workers": 1, "held_out_every": 4, "trials": 3, "averaged": 1},
    "least_step": 0.0,
}
PARAMS = Evolution(**BLOCK)


class Bowl(Model):
    """Worth most at 1, 1, ... whatever the trial adds to it."""

    figure = "worth"
    larger_is_better = True
    logged = ("luck",)

    def __init__(self) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.zeros(6))

    def objectives(self) -> list[Objective]:
        return []

    def evaluate(self, batch: Batch) -> dict[str, Tensor]:
        return {}

    def exhibits(self, batch: Batch) -> list[Exhibit]:
        return []

    def fitness(self, candidates: Tensor, seeds: Tensor) -> Tensor:
        return torch.from_numpy(worth(candidates.numpy(), seeds.numpy()))


def evolved(folder: Path, measure: Any, watch: Any = lambda step, row: None, params: Evolution = PARAMS) -> tuple[bytes, str]:
    """The weights and the curve of a whole search."""
    model = Bowl()
    curve = evolve(model, params, HERE, Work(folder, "print"), measure, watch)
    return model.weights.detach().numpy().tobytes(), curve.csv()


def serial(chunks: Sequence[Chunk]) -> list[np.ndarray]:
    return [worth(*chunk) for chunk in chunks]


def test_evolution_climbs_and_ships_the_mean(tmp_path: Path) -> None:
    model = Bowl()
    rows: list[dict[str, float]] = []
    params = PARAMS.model_copy(update={"steps": 60})
    evolve(model, params, HERE, Work(tmp_path, ""), serial, lambda step, row: rows.append(row))
    assert (model.weights - 1).abs().max() < 0.05
    seeds = trial_seeds(params, evolution.HELD_OUT, params.trials)
    shipped = model.fitness(model.weights.detach().expand(len(seeds), -1), torch.from_numpy(seeds))[:, 0].mean()
    assert rows[-1]["validation/worth"] == pytest.approx(shipped.item(), abs=1e-12)
    assert rows[-1]["validation/worth"] > rows[3]["validation/worth"]
    assert rows[-1]["evolution/best"] >= rows[-1]["evolution/mean"]
    assert rows[-1]["evolution/sigma"] < rows[0]["evolution/sigma"]
    assert [int(row["step"]) for row in rows if "validation/worth" in row] == list(range(4, 61, 4))


def lucky(chunks: Sequence[Chunk]) -> list[np.ndarray]:
    """Each trial adds a luck of its own, as great as what is to be gained."""
    return [worth(*chunk) + np.random.default_rng(list(chunk[0].tobytes())).normal(0, 1, (len(chunk[0]), 1)) for chunk in chunks]


def gpu() -> Any:
    return partial(os.environ.get, "CUDA_VISIBLE_DEVICES")


def test_each_worker_has_a_gpu_of_its_own_as_long_as_there_are_some(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,6")
    with Workers(gpu, 3) as workers:
        assert [worker.ask(()) for worker in workers.all] == ["4", "6", "4"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with Workers(gpu, 2) as workers:
        assert [worker.ask(()) for worker in workers.all] == ["", ""]


def test_the_model_is_the_average_of_the_last_means(tmp_path: Path) -> None:
    params = PARAMS.model_copy(update={"steps": 60, "averaged": 20, "held_out_every": 60})
    shipped, means = Bowl(), []
    evolve(shipped, params, HERE, Work(tmp_path / "averaged", ""), lucky, lambda step, row: None)
    for steps in range(41, 61):
        plain, each = Bowl(), params.model_copy(update={"steps": steps, "averaged": 1})
        evolve(plain, each, HERE, Work(tmp_path / str(steps), ""), lucky, lambda step, row: None)
        means.append(plain.weights.detach())
    assert torch.allclose(shipped.weights, torch.stack(means).mean(0), atol=1e-6)
    off = [float((mean - 1).square().sum()) for mean in means]
    assert float((shipped.weights.detach() - 1).square().sum()) < 0.5 * float(np.mean(off)), "luck is averaged out"


def test_the_model_is_what_was_worth_most_in_held_out_trials(tmp_path: Path) -> None:
    params = PARAMS.model_copy(update={"steps": 40, "checkpoint_every": 1})
    held_out = trial_seeds(params, evolution.HELD_OUT, params.trials)

    def measure(chunks: Sequence[Chunk]) -> list[np.ndarray]:
        """Held-out trials want less than the others."""
        return [worth(candidates * (2 if np.isin(seeds, held_out).all() else 1), seeds) for candidates, seeds in chunks]

    rows: list[dict[str, float]] = []
    model = Bowl()
    evolve(model, params, HERE, Work(tmp_path, ""), measure, lambda step, row: rows.append(row))
    figures = {int(row["step"]): row["validation/worth"] for row in rows if "validation/worth" in row}
    best = max(figures, key=lambda step: figures[step])
    assert best < params.steps, "the search went past it"
    weights = model.weights.detach().numpy()
    shipped = measure([(np.tile(weights, (len(held_out), 1)), held_out)])[0][:, 0].mean()
    assert shipped == pytest.approx(figures[best], abs=1e-6)
    resumed = Bowl()
    evolve(resumed, params, HERE, Work(tmp_path, ""), measure, lambda step, row: None)
    assert torch.equal(resumed.weights, model.weights), "a checkpoint knows of it too"


def test_the_step_size_does_not_fall_below_the_least(tmp_path: Path) -> None:
    rows: list[dict[str, float]] = []
    for least in (0.0, 0.2):
        params = PARAMS.model_copy(update={"steps": 40, "least_step": least})
        evolve(Bowl(), params, HERE, Work(tmp_path / str(least), ""), serial, lambda step, row: rows.append(row))
    sigmas = np.array([row["evolution/sigma"] for row in rows]).reshape(2, -1)
    assert sigmas[0].min() < 0.1
    assert sigmas[1].min() == pytest.approx(0.2)


def test_no_more_than_the_later_half_of_the_means_is_averaged() -> None:
    search, seen = Search(PARAMS.model_copy(update={"averaged": 100}), np.zeros(6)), []
    for generation in range(1, 8):
        candidates = search.ask()
        search.tell(worth(candidates, np.zeros(len(candidates), int))[:, 0])
        seen.append(search._strategy.mean.copy())
        assert np.allclose(search.mean, np.mean(seen[-((generation + 1) // 2) :], axis=0))


def test_a_search_that_was_killed_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    class Killed(Exception):  # noqa: N818
        pass

    def kill_at(generation: int, step: int, row: dict[str, float]) -> None:
        seen.append(step)
        if step == generation:
            raise Killed

    params = PARAMS.model_copy(update={"averaged": 3})
    whole = evolved(tmp_path / "whole", serial, params=params)
    for generation in (2, 5, 7):
        seen: list[int] = []
        with pytest.raises(Killed):
            evolved(tmp_path / "parts", serial, partial(kill_at, generation), params)
    seen = []
    assert evolved(tmp_path / "parts", serial, partial(kill_at, 0), params) == whole
    assert seen[0] == 7, "it went on from the checkpoint of generation 6"


@pytest.mark.parametrize(("setup", "count"), [(at_once, 1), (at_once, 2), (late, 3)])
def test_the_number_of_workers_and_the_order_of_answers_change_nothing(tmp_path: Path, setup: Any, count: int) -> None:
    with Workers(setup, count) as workers:
        assert evolved(tmp_path / "workers", workers) == evolved(tmp_path / "serial", serial)


def test_a_killed_worker_costs_its_chunk_and_not_the_run(tmp_path: Path) -> None:
    with Workers(partial(dying, tmp_path, 2), 2) as workers:
        result = evolved(tmp_path / "workers", workers)
    assert (tmp_path / "life1").exists()
    assert result == evolved(tmp_path / "serial", serial)


def test_trials_that_no_worker_outlives_end_the_run(tmp_path: Path) -> None:
    with Workers(partial(dying, tmp_path, 100), 2) as workers, pytest.raises(WorkerLostError, match="3 worker processes died"):
        evolved(tmp_path / "workers", workers)
    assert not [
        child for child in psutil.Process().children() if child.status() != psutil.STATUS_ZOMBIE and "spawn_main" in child.cmdline()[-2]
    ]


def test_what_a_worker_raises_is_raised_here() -> None:
    with Workers(refusing, 2) as workers, pytest.raises(UsageError, match="no such road"):
        workers([(np.zeros((1, 6), np.float32), np.zeros(1, np.int64))])


def test_workers_end_with_a_killed_parent_even_in_the_middle_of_their_work(tmp_path: Path) -> None:
    pid = os.fork()
    if pid == 0:
        Workers(partial(endless, tmp_path), 2).__enter__()([(), ()])
    wait_for(lambda: len(list(tmp_path.iterdir())) == 2)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    children = [int(path.name) for path in tmp_path.iterdir()]
    wait_for(lambda: not any(psutil.pid_exists(child) and psutil.Process(child).status() != psutil.STATUS_ZOMBIE for child in children))


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize("chunk", [1, 3, 4, 100])
def test_every_candidate_has_every_trial_however_they_are_cut(chunk: int) -> None:
    candidates = np.arange(4, dtype=np.float32)[:, None]
    seeds = np.array([10, 20, 30])
    cut: list[int] = []

    def measure(chunks: Sequence[Chunk]) -> list[np.ndarray]:
        cut.extend(len(part) for part, _ in chunks)
        return [(part[:, 0] + under)[:, None] for part, under in chunks]

    assert np.array_equal(trials(candidates, seeds, chunk, measure)[..., 0], np.add.outer(np.arange(4), seeds))
    assert max(cut) <= chunk


def test_a_fitness_that_is_not_finite_stops_the_search(tmp_path: Path) -> None:
    def measure(chunks: Sequence[Chunk]) -> list[np.ndarray]:
        answers = serial(chunks)
        calls.append(len(chunks))
        if len(calls) > 4:
            answers[0][2, 0] = np.nan
        return answers

    calls: list[int] = []
    with pytest.raises(
        UsageError, match=r"step 4: the fitness of candidate 2 is nan; the last good checkpoint is .*checkpoint.pt, step 3; "
    ):
        evolved(tmp_path, measure, params=PARAMS.model_copy(update={"held_out_every": 3}))


def test_a_search_keeps_to_its_own_random_numbers() -> None:
    def two(seed: int) -> np.ndarray:
        search = Search(PARAMS.model_copy(update={"seed": seed}), np.zeros(6))
        search.ask()
        search.tell(np.arange(8.0))
        np.random.rand(3)
        return search.ask()

    np.random.seed(1)
    before = np.random.get_state(legacy=False)
    first = two(1)
    np.random.seed(1)
    np.random.rand(3)
    assert np.array_equal(first, two(1))
    assert not np.array_equal(first, two(2))
    np.random.seed(1)
    assert str(before) == str(np.random.get_state(legacy=False))


def test_no_trial_of_the_search_is_a_held_out_one() -> None:
    streams = [trial_seeds(PARAMS, stream, 32) for stream in (*range(50), evolution.HELD_OUT, evolution.FRESH)]
    assert len(np.unique(np.concatenate(streams))) == 32 * len(streams)
