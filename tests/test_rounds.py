"""The loop of a world model, unrolled: what rounds are made of, that they come and go without a trace, and what is refused."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from conftest import ROOT, read_yaml, write_catalogue
from ruamel.yaml import YAML

from flows import command
from generative import rounds, scale
from generative.catalogue import Catalogue
from generative.data.store import open_dataset
from generative.errors import UsageError
from generative.stages.encode import encode

NAME = "world_controller"


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copy(ROOT / "params.yaml", tmp_path)
    shutil.copytree(ROOT / "scales", tmp_path / "scales")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_round_is_collected_by_the_controller_of_the_one_before(own: Path) -> None:
    assert rounds.unroll(NAME, 3) == [NAME, f"{NAME}_2", f"{NAME}_3"]
    content = read_yaml(own / "params.yaml")
    encodings, models = content["encodings"], content["models"]
    for number, before in ((2, ""), (3, "_2")):
        kept = f"car_memory{before}"
        assert encodings[f"car_rollouts_{number}"] == {"data": kept, "beside": kept, "model": f"{NAME}{before}", "batch_size": 128}
        for name, data, beside, model in (
            ("car_latents", "car_rollouts", f"car_latents{before}", "world_vae"),
            ("car_memory", "car_latents", f"car_latents_{number}", f"world_rnn_{number}"),
        ):
            made_of = {"data": f"{data}_{number}", "beside": beside, "model": model}
            assert encodings[f"{name}_{number}"] == encodings[name] | made_of
        for first, data in (("world_rnn", "car_latents"), (NAME, "car_memory")):
            copied = models[f"{first}_{number}"]
            own_data = f"{data}_{number}"
            assert copied == models[first] | {"data": own_data, "against": own_data, "judge": f"{first}_{number}"}
    assert not [name for name in models if name.startswith("world_vae_")]
    Catalogue.read().check()


def test_rounds_leave_no_trace_when_they_go(own: Path) -> None:
    before = (own / "params.yaml").read_bytes()
    rounds.unroll(NAME, 3)
    three = (own / "params.yaml").read_bytes()
    rounds.unroll(NAME, 2)
    assert not [name for name in read_yaml(own / "params.yaml")["models"] if name.endswith("_3")]
    rounds.unroll(NAME, 3)
    assert (own / "params.yaml").read_bytes() == three
    rounds.unroll(NAME, 1)
    assert (own / "params.yaml").read_bytes() == before
    rounds.unroll(NAME, 2)
    scale.take_back([])
    assert (own / "params.yaml").read_bytes() == before


def test_a_round_that_is_there_keeps_its_sizes_and_stands_at_the_scale_of_the_first(own: Path) -> None:
    scale.put("showcase", [NAME])
    rounds.unroll(NAME, 2)
    text = (own / "params.yaml").read_text()
    steps = read_yaml(own / "params.yaml")["models"]["world_rnn_2"]["steps"]
    changed = text[: (at := text.index("  world_rnn_2:"))] + text[at:].replace(f"steps: {steps}", "steps: 7", 1)
    (own / "params.yaml").write_text(changed)
    rounds.unroll(NAME, 2)
    assert (own / "params.yaml").read_text() == changed
    assert scale.scale_of("world_vae") == scale.scale_of(f"{NAME}_2") == "showcase"


def test_a_scale_may_add_a_round(own: Path) -> None:
    rounds.unroll(NAME, 2)
    content = read_yaml(own / "params.yaml")
    added = {s: {name: block for name, block in content[s].items() if name.endswith("_2")} for s in ("encodings", "models")}
    rounds.unroll(NAME, 1)
    with (own / "scales/loop.yaml").open("w") as file:
        YAML().dump({"data": {}, **added}, file)
    scale.put("loop", [f"{NAME}_2"])
    Catalogue.read().check()
    assert read_yaml(own / "params.yaml") == content


def test_what_is_no_chain_or_stands_in_the_way_is_refused(own: Path) -> None:
    for name, count, message in (
        ("vae", 2, "models.vae.data: expected what an M makes of what a V makes of episodes, got glyphs"),
        (NAME, 0, "iterations: expected from 1 to 99 rounds, got 0"),
        ("world_contrller", 2, "no such entry; did you mean world_controller?"),
    ):
        with pytest.raises(UsageError, match=message):
            rounds.unroll(name, count)
    content = read_yaml(own / "params.yaml")
    content["encodings"]["car_rollouts_2"] = {"data": "car_memory", "beside": "car_memory", "model": "world_rnn", "batch_size": 1}
    write_catalogue(own, content)
    before = (own / "params.yaml").read_bytes()
    with pytest.raises(UsageError, match=r"encodings\.car_rollouts_2\.model: expected world_controller, as a round has it, got world_rnn"):
        rounds.unroll(NAME, 2)
    assert (own / "params.yaml").read_bytes() == before


def test_the_flow_brings_up_the_rounds_that_it_is_asked_for(own: Path) -> None:
    assert command.unrolled([], None) == [NAME]
    assert command.unrolled([], 2) == [NAME, f"{NAME}_2"]
    assert command.unrolled([], None) == [NAME, f"{NAME}_2"]
    assert command.unrolled([], 3) == [NAME, f"{NAME}_2", f"{NAME}_3"]
    assert command.unrolled([NAME], 1) == [NAME]


@pytest.mark.xdist_group("built")
def test_what_a_controller_collects_is_a_data_set_as_rollouts_are(built: Path, own: Path) -> None:
    shutil.copy(built / "params.yaml", own)
    for part in ("processed/car_rollouts", "processed/car_latents", "processed/car_memory", "models/world_vae", f"models/{NAME}"):
        shutil.copytree(built / "data" / part, own / "data" / part)
    rounds.unroll(NAME, 2)
    encode("car_rollouts_2")
    first, second = (open_dataset(folder / "data/processed" / name) for folder, name in ((built, "car_rollouts"), (own, "car_rollouts_2")))
    for fact in ("kind", "shape", "sequence"):
        assert getattr(second.info, fact) == getattr(first.info, fact)
    assert not (second.folder / "model").exists()
    assert second.info.counts == first.info.counts
    driven = second.split("train").arrays
    assert driven["mask"].all()
    assert (driven["action"] - first.split("train").arrays["action"]).abs().max() > 0.1
    assert (driven["seed"] >= 0).all()
    pictures = (second.folder / "train/x.npy").read_bytes()
    encode("car_rollouts_2")
    assert (second.folder / "train/x.npy").read_bytes() == pictures

    encode("car_latents_2")
    before, both = (open_dataset(folder / "data/processed" / name) for folder, name in ((built, "car_latents"), (own, "car_latents_2")))
    assert both.info.counts == {split: 2 * count for split, count in before.info.counts.items()}
    kept, got = before.split("train").arrays, both.split("train").arrays
    count = len(kept["x"])
    for key, array in kept.items():
        assert torch.equal(got[key][:count], array)
    for key in ("action", "reward", "seed", "age"):
        assert torch.equal(got[key][count:].flatten(), driven[key].flatten())
    assert set(got) - set(kept) == {"seed", "age"}
    assert (got["seed"][:count] == -1).all()


def test_an_encoding_that_is_made_of_itself_some_way_round_is_refused(own: Path) -> None:
    rounds.unroll(NAME, 2)
    content = read_yaml(own / "params.yaml")
    content["encodings"]["car_rollouts_2"]["beside"] = "car_memory_2"
    write_catalogue(own, content)
    way = "car_rollouts_2 from car_memory_2 from car_latents_2 from car_rollouts_2"
    with pytest.raises(UsageError, match=rf"encodings\.car_rollouts_2: made of itself: {way}"):
        Catalogue.read().encoding("car_rollouts_2")


@pytest.mark.xdist_group("built")
@pytest.mark.parametrize(
    ("name", "key", "other", "said"),
    [
        ("car_latents", "beside", "glyphs", "expected examples like those that are made, .*'codes'.*, got glyphs with .*'images'"),
        ("car_rollouts_2", "beside", "glyphs", "expected examples like those that are made, .*: 12.*, got glyphs with .*'sequence': 1"),
        ("car_latents", "beside", "others", "expected codes of world_vae, got others, of another_vae"),
        ("car_latents", "data", "others", "expected examples like those of car_rollouts, .*'images'.*, got others with .*'codes'"),
    ],
)
def test_what_is_not_like_the_rest_is_refused(built: Path, own: Path, name: str, key: str, other: str, said: str) -> None:
    shutil.copy(built / "params.yaml", own)
    processed = own / "data/processed"
    for part in ("processed/glyphs", "processed/car_rollouts", "processed/car_memory", "models/world_vae", f"models/{NAME}"):
        shutil.copytree(built / "data" / part, own / "data" / part)
    shutil.copytree(built / "data/processed/car_latents", processed / "others")
    info = processed / "others/info.json"
    info.write_text(info.read_text().replace('"car_latents"', '"others"'))
    rounds.unroll(NAME, 2)
    content = read_yaml(own / "params.yaml")
    content["models"]["another_vae"] = content["models"]["world_vae"] | {"judge": "another_vae"}
    content["encodings"]["others"] = content["encodings"]["car_latents"] | {"model": "another_vae"}
    content["encodings"][name][key] = other
    write_catalogue(own, content)
    with pytest.raises(UsageError, match=rf"params.yaml: encodings\.{name}\.{key}: {said}"):
        encode(name)
    assert not (processed / name).exists()
