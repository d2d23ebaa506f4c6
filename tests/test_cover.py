"""Take cover: games that repeat, episodes that are the same whoever plays them, and a word on what is to be installed."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import chdir
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import psutil
import pytest
from conftest import ROOT, read_yaml, write_catalogue

from generative.data.rollouts import doom
from generative.data.rollouts.cover.episode import TICS, Episode
from generative.data.store import open_dataset
from generative.errors import UsageError
from generative.files import exhibit_file
from generative.models.world import controller
from generative.stages.download import download
from generative.stages.encode import encode
from generative.stages.evaluate import evaluate
from generative.stages.preprocess import preprocess
from generative.stages.sample import sample
from generative.stages.train import train

needs_vizdoom = pytest.mark.skipif(find_spec("vizdoom") is None, reason="vizdoom is not installed")
BLOCK = {
    "source": "rollouts/doom", "seed": 1, "train": 4, "validation": 2, "test": 2, "decisions": 60, "repeat": 4, "persistence": [0.8, 1.0],
}  # fmt: skip

TINY = {
    "doom_rollouts": {"train": 4, "validation": 2, "test": 2, "shard": 4, "decisions": 60, "workers": 1},
    "doom_vae": {"steps": 4, "batch_size": 8, "log_every": 2, "checkpoint_every": 4, "channels": [4, 8, 8, 8], "latent_size": 6},
    "doom_rnn": {"steps": 4, "batch_size": 4, "log_every": 2, "checkpoint_every": 4, "hidden_size": 8, "components": 2, "window": 8},
    "doom_latents": {"batch_size": 60},
    "doom_memory": {"batch_size": 2},
    "doom_controller": {"compared": 2, "steps": 2, "batch_size": 4, "accumulate": 1, "chunk": 4, "trials": 2, "decisions": 20},
}
TINY["doom_dream"] = {**TINY["doom_controller"], "lead": 3, "dreamed": 10}


def played(game: Episode, seed: int, choice: float) -> tuple[float, int, bool]:
    """Tics survived, the sum over the pictures seen, and whether the game ended."""
    seen, lived, done = int(game.start(seed).sum()), 0.0, False
    while not done:
        frame, reward, done = game.advance(np.array([choice]))
        seen, lived = seen + int(frame.sum()), lived + reward
        assert frame.shape == (64, 64, 3)
    return lived, seen, done


@needs_vizdoom
def test_a_game_is_a_function_of_its_seed_and_the_choices() -> None:
    game = Episode(4, official=True)
    first = [played(game, seed, -1.0) for seed in (1, 2, 3)]
    assert [played(game, seed, -1.0) for seed in (3, 2, 1)] == first[::-1]
    other = Episode(4, official=True)
    assert [played(other, seed, -1.0) for seed in (1, 2, 3)] == first
    assert len({lived for lived, _, _ in first}) > 1
    assert all(20 < lived < TICS for lived, _, _ in first)
    assert [played(game, seed, 1.0) for seed in (1, 2, 3)] != first
    assert not list(Path().glob("_vizdoom*")), "the game leaves nothing in the folder"


@needs_vizdoom
def test_a_game_dies_with_the_process_that_plays_it() -> None:
    code = (
        "from generative.data.rollouts.cover.episode import Episode; game = Episode(4, official=True); game.start(1)\n"
        "print(1, flush=True); input()"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as player:
        assert player.stdout
        assert player.stdout.read(1) == b"1"
        games = psutil.Process(player.pid).children(recursive=True)
        assert [Path(game.exe()).name for game in games] == ["vizdoom"]
        player.kill()
    gone, alive = psutil.wait_procs(games, 10)
    assert gone and not [game for game in alive if game.status() != psutil.STATUS_ZOMBIE]


@needs_vizdoom
def test_episodes_do_not_depend_on_who_plays_them(tmp_path: Path) -> None:
    fingerprints = set()
    for shard in (1, 3):
        params = doom.Params(**BLOCK, shard=shard, workers=1)
        raw, ready = tmp_path / f"raw{shard}", tmp_path / f"ready{shard}"
        raw.mkdir()
        ready.mkdir()
        doom.download(params, "doom", raw)
        fingerprints.add(doom.preprocess(params, "doom", raw, ready).fingerprint)
    assert len(fingerprints) == 1
    train = open_dataset(ready).split("train")
    actions = train.arrays["action"].unflatten(0, (4, 60))
    assert set(actions.unique().tolist()) == {-1, 0, 1}
    episodes = train.arrays["mask"].unflatten(0, (4, 60))
    assert (episodes.sum(1) < 60).any()
    held = [len(set(episode[there].flatten().tolist())) for episode, there in zip(actions, episodes, strict=True)]
    assert [count == 1 for count in held] == [False, True, False, True], "with persistence 1 the first choice is the only one"
    assert actions[[1, 3], 0].any(), "and may be any"
    assert (train.arrays["done"].unflatten(0, (4, 60)).sum(1) == (episodes.sum(1) < 60)).all()
    assert (train.arrays["reward"].unflatten(0, (4, 60))[episodes] > 0).float().mean() > 0.9


def test_without_the_package_one_is_told_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "vizdoom", None)
    with pytest.raises(UsageError, match=r"take cover needs vizdoom: .*pip install '\.\[doom\]'"):
        doom.download(doom.Params(**BLOCK, shard=4, workers=1), "doom", tmp_path)
    with pytest.raises(UsageError, match="needs vizdoom"):
        Episode(4, official=True)


def chain() -> dict[str, dict[str, dict[str, object]]]:
    """The entries of the showcase that take cover has, at a tiny size."""
    overlay = read_yaml(ROOT / "scales/showcase.yaml")
    content = {section: {name: block | TINY[name] for name, block in blocks.items() if name in TINY} for section, blocks in overlay.items()}
    for name in ("doom_controller", "doom_dream"):
        content["models"][name].update({"latent_size": 6, "workers": 1, "patience": 20, "log_every": 1, "gate": 1e6})
    return content


@needs_vizdoom
def test_the_chain_from_games_to_a_dodger_evolved_in_dreams_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(controller, "CALIBRATED", 2)  # games take a while to open
    write_catalogue(tmp_path, chain())
    with chdir(tmp_path):
        download("doom_rollouts")
        preprocess("doom_rollouts")
        for name, encoding in (("doom_vae", "doom_latents"), ("doom_rnn", "doom_memory")):
            train(name)
            encode(encoding)
            sample(name)
        assert any("ends" in name for name in json.loads(Path("data/samples/doom_rnn.json").read_text()))
        for name in ("doom_controller", "doom_dream"):
            train(name)
            evaluate(name)
            sample(name)
            figures = json.loads(Path(f"data/metrics/{name}/figures.json").read_text())
            assert figures["return"] == figures["return_fast"] > 0, "there is no other game than the unmodified one"
            assert figures["return_random"] > 0
        shown = json.loads(Path("data/samples/doom_dream.json").read_text())
        assert [name for name in shown if "calibration" in name]
        table = exhibit_file("doom_dream", next(name for name in shown if "calibration" in name)).read_bytes()
        assert b"nothing" in table
        assert b"random" in table
