"""Music: the models as published, and the figures of what they make."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from generative.data.music.notation import grids, tokens
from generative.data.store import Info
from generative.errors import UsageError
from generative.metrics import music as measures
from generative.models.music.musegan import MuseGAN, Noise
from generative.models.music.musegan import Params as MuseParams
from generative.models.music.music_transformer import MusicTransformer, Temperatures
from generative.models.music.music_transformer import Params as TransformerParams


def melody_info(window: int = 8) -> Info:
    return info_of([window + 1, 2], {"notes": ["START", "rest", "G:major", "3/4", "C4", "D4", "E4"], "durations": ["0", "1/2", "1"]})


def info_of(shape: list[int], vocabulary: dict[str, list[str]]) -> Info:
    return Info(
        name="made", kind="music", shape=shape, classes=[], attributes=[], values={}, vocabulary=vocabulary,
        counts={"train": 1, "validation": 1, "test": 1}, fingerprint="", notes=[],
    )  # fmt: skip


TRAINING = {
    "model": "", "data": "", "against": "", "judge": "", "compared": 0, "seed": 1, "steps": 1, "batch_size": 1, "accumulate": 1,
    "learning_rate": 0.001, "schedule": "constant", "clip_norm": 0.0, "precision": "float32", "threads": 1, "log_every": 1,
    "checkpoint_every": 1,
}  # fmt: skip
PUBLISHED = {"embedding": 128, "blocks": 1, "heads": 5, "head_size": 256, "hidden": 256, "dropout": 0.3}
HEAT = {"note_temperature": 1.0, "duration_temperature": 1.0, "pieces": 1, "longest": 8}


def transformer(**changes: object) -> MusicTransformer:
    torch.manual_seed(0)
    sizes = {"embedding": 8, "blocks": 2, "heads": 2, "head_size": 4, "hidden": 16, "dropout": 0.0, **changes}
    return MusicTransformer(TransformerParams(**TRAINING, **sizes, **HEAT), melody_info()).eval()  # type: ignore[arg-type]


def test_the_transformer_has_the_published_number_of_parameters() -> None:
    notes, durations = [f"C{i}" for i in range(59)], [f"{i}/4" for i in range(24)]
    notes[:2], durations[0] = ["START", "rest"], "0"
    info = info_of([51, 2], {"notes": notes, "durations": durations})
    model = MusicTransformer(TransformerParams(**TRAINING, **PUBLISHED, **HEAT), info)  # type: ignore[arg-type]
    assert sum(p.numel() for p in model.parameters()) == 1_479_379


def test_an_event_depends_on_those_before_it_alone() -> None:
    model = transformer()
    x = model.embed(torch.randint(0, 3, (1, 8, 2))).detach().requires_grad_()
    for stream in (model.next_note, model.next_duration):
        (slope,) = torch.autograd.grad(stream(model.decoder(x))[0, 3].sum(), x)
        reached = slope[0].abs().sum(-1) > 0
        assert reached.tolist() == [True] * 4 + [False] * 4


def test_generation_with_kept_keys_and_values_equals_one_that_reads_all_anew() -> None:
    model = transformer()
    begun = torch.tensor([[[0, 0], [2, 0], [4, 1]]])
    with torch.no_grad():
        made, likely = model.extend(begun, 6, Temperatures(0.7, 1.3))
        for place in range(3, 9):
            fresh = model.next_note(model.decoder(model.embed(made[:, :place]))[:, -1])
            assert torch.allclose((fresh / 0.7).softmax(-1), likely[:, place - 3], atol=1e-6)
        longer, _ = model.extend(begun, 40, Temperatures(1.0, 1.0))
    assert longer.shape == (1, 43, 2)


def test_durations_fit_their_notes() -> None:
    model = transformer()
    with torch.no_grad():
        made = model.sample(40)
    timed = model.timed[made[..., 0]]
    assert ((made[..., 1] > 0) == timed).all()
    assert len(made.unique()) > 3


def test_notes_and_durations_have_temperatures_of_their_own() -> None:
    model, begun = transformer(), torch.tensor([[0, 0], [4, 1]])
    model.next_note.bias.data[4] = 3.0  # C4 is the likeliest
    with torch.no_grad():
        cold = model.sample(200, begun, note_temperature=1e-300, duration_temperature=5.0)[:, 2]
        hot = model.sample(200, begun, note_temperature=5.0, duration_temperature=0.001)[:, 2]
    assert (cold[:, 0] == 4).all()
    with pytest.raises(UsageError, match="note_temperature: expected"):
        model.sample(1, note_temperature=0.0)
    assert len(cold[:, 1].unique()) == 2
    assert len(hot[:, 0].unique()) == 7
    assert len(hot[model.timed[hot[:, 0]]][:, 1].unique()) == 1


def test_the_transformer_refuses_other_data() -> None:
    with pytest.raises(UsageError, match="expects streams of notes and durations"):
        MusicTransformer(transformer().params, info_of([32, 1], {"soprano": ["C4"]}))  # type: ignore[arg-type]


def musegan(**changes: object) -> MuseGAN:
    torch.manual_seed(0)
    sizes = {"temporal_width": 16, "bar_width": 16, "critic_width": 4, "critic_dense": 8, "bars": 2, **changes}
    fixed = {"latent_size": 32, "critic_steps": 2, "penalty_weight": 10.0, "average": 0.8, "pieces": 1}
    info = info_of([16 * int(sizes["bars"]), 4], tokens.grid_vocabulary(grids.VOICES))  # type: ignore[arg-type,call-overload]
    return MuseGAN(MuseParams(**TRAINING, **sizes, **fixed), info)  # type: ignore[arg-type]


def test_musegan_has_the_published_number_of_parameters() -> None:
    model = musegan(temporal_width=1024, bar_width=1024, critic_width=128, critic_dense=1024)
    assert sum(p.numel() for p in model.critic.parameters()) == 1_446_401 - 1  # no loss reaches the bias of the score
    averages = sum(b.numel() for b in model.generator.buffers() if b.is_floating_point())  # the published count has them in it
    cancelled = averages // 2 + 4  # biases before a batch normalisation, and each voice's before the softmax
    assert sum(p.numel() for p in model.generator.parameters()) + averages + cancelled == 6_605_604


def test_the_critic_is_the_published_stack_of_convolutions_in_three_dimensions() -> None:
    model = musegan(bars=3)
    critic, x = model.critic, torch.randn(2, 4, 3, 16, 84)
    kernels = [
        (critic.pairs, (4, 2, 1, 1), (1, 1, 1)), (critic.bars, (4, 2, 1, 1), (1, 1, 1)), (critic.notes, (4, 1, 1, 12), (1, 1, 12)),
        (critic.octaves, (4, 1, 1, 7), (1, 1, 7)), (critic.eighths, (4, 1, 2, 1), (1, 2, 1)), (critic.quarters, (4, 1, 2, 1), (1, 2, 1)),
    ]  # fmt: skip
    hidden = x
    for number, (layer, shape, stride) in enumerate(kernels):
        block = layer.weight.unflatten(1, (shape[0], -1) if number == 0 else (-1, shape[0]))
        weight = (block if number else block.transpose(1, 2)).transpose(1, 2).unflatten(2, shape[1:])
        hidden = torch.nn.functional.leaky_relu(torch.nn.functional.conv3d(hidden, weight, layer.bias, stride), 0.3)
    for layer in (critic.halves, critic.whole):
        weight = layer.weight[:, :, None, :, None]
        hidden = torch.nn.functional.leaky_relu(torch.nn.functional.conv3d(hidden, weight, layer.bias, (1, 2, 1), (0, 1, 0)), 0.3)
    score = critic.score(torch.nn.functional.leaky_relu(critic.dense(hidden.flatten(1)), 0.3))[:, 0]
    assert torch.allclose(score, critic(x), atol=1e-5)


def test_other_lengths_than_the_published_two_bars() -> None:
    model = musegan(bars=4)
    x = model.sample(2)
    assert x.shape == (2, 64, 4)
    assert model.critic(model.picture(x)).shape == (2,)


def test_each_noise_reaches_the_voices_that_it_is_meant_for() -> None:
    model = musegan().eval()
    noise = model.noise(3)
    before = model.generator(noise)
    reached = {
        name: [not torch.equal(a, b) for a, b in zip(before.unbind(1), model.generator(model._redrawn(noise, name)).unbind(1), strict=True)]
        for name in Noise._fields
    }
    assert reached == {
        "chords": [True] * 4,
        "style": [True] * 4,
        "melody": [True, False, False, False],
        "groove": [False, False, False, True],
    }


def test_a_voice_sings_one_note_at_a_time() -> None:
    picture = musegan().generator(Noise(*(10 * noise for noise in musegan().noise(3))))
    assert picture.min() >= -1
    assert torch.allclose(picture.sum(-1), torch.tensor(-82.0), atol=1e-4)  # as in a picture of real music


def test_the_averaged_generator_normalises_by_statistics_as_old_as_its_weights() -> None:
    model = musegan()
    layer = model.generator.chords.layers[1]
    model.generator(model.noise(4))
    first = layer.running_var.clone()  # type: ignore[operator,union-attr]
    with torch.no_grad():
        model.generator.chords.layers[0].weight.zero_()  # type: ignore[union-attr,operator]
    model.generator(model.noise(4))
    assert torch.allclose(layer.running_var, 0.8 * first)  # type: ignore[union-attr,arg-type]


def test_style_and_groove_are_the_same_in_each_bar_and_chords_and_melody_are_not() -> None:
    model = musegan().eval()
    noise = model.noise(2)
    still = noise._replace(chords=torch.zeros_like(noise.chords), melody=torch.zeros_like(noise.melody))
    for network in (model.generator.chords, *model.generator.melody):
        torch.nn.init.zeros_(network.layers[3].weight)  # type: ignore[union-attr,index]
    bars = model.generator(still)
    assert torch.equal(bars[:, :, 0], bars[:, :, 1])
    other = musegan().eval().generator(noise)
    assert not torch.equal(other[:, :, 0], other[:, :, 1])


def test_the_penalty_of_a_critic_with_unit_slope_is_zero() -> None:
    class Slope(torch.nn.Module):
        def __init__(self, length: float) -> None:
            super().__init__()
            self.direction = torch.nn.Parameter(torch.randn(4, 2, 16, 84))
            self.length = length

        def forward(self, x: Tensor) -> Tensor:
            return (x * self.direction * self.length / self.direction.norm()).flatten(1).sum(1)

    model = musegan()
    real, made = torch.randn(2, 3, 4, 2, 16, 84).unbind(0)
    for length, expected in ((1.0, 0.0), (3.0, 4.0)):
        model.critic = Slope(length)  # type: ignore[assignment]
        assert model.penalty(real, made).item() == pytest.approx(expected, abs=1e-4)


def test_a_picture_is_the_tokens_it_was_made_of() -> None:
    model = musegan()
    x = torch.randint(0, 84, (3, 32, 4))
    picture = model.picture(x)
    assert torch.equal(model.tokens(picture), x)
    assert (picture.min(), picture.max(), picture.sum(-1).unique().item()) == (-1, 1, -82)


# The figures


def test_the_longest_copy_is_found_wherever_it_stands() -> None:
    random = np.random.default_rng(0)
    known, made = random.integers(0, 1000, (50, 30)), random.integers(1000, 2000, (20, 30))
    assert measures.longest_copy(made, known) == 0
    made[7, 11:20] = known[33, 2:11]
    assert measures.longest_copy(made, known) == 9
    assert measures.longest_copy(known[:1], known) == 30


def test_the_measures_of_voices_by_hand() -> None:
    x = np.full((1, 32, 2), tokens.REST)
    x[0, :16, 0] = [60] * 8 + [64] * 8
    x[0, :8, 1] = 48
    values = measures.voices(x)(x)
    assert values["empty_bars"] == 0.5
    assert values["used_pitch_classes"] == pytest.approx((2 + 1) / 4)
    assert values["polyphony"] == 0.25
    assert values["tonal_distance"] == pytest.approx(0, abs=1e-9), "octaves of one pitch class"
    assert values["pitch_class_overlap"] == pytest.approx(1)
    x[0, :8, 1] = 49
    assert measures.tonal_distance(x) > 1


def test_melodies_are_compared_by_pitch_classes_intervals_and_durations() -> None:
    info = melody_info()
    up = np.array([[[0, 0], [4, 1], [5, 1], [6, 1]]])
    down = up[:, [0, 3, 2, 1]]
    values = measures.melodies(info, up, up)(down)
    assert (values["pitch_class_overlap"], values["duration_overlap"]) == (1, 1)
    assert values["interval_overlap"] == 0
    assert values["longest_copy"] == 1
