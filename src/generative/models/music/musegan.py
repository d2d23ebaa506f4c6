"""MuseGAN (Dong et al. 2018) as published by Foster (2023, chapter 11): chorales as pictures of pitch over time, a channel a voice.

Four noises make a piece: `chords` and `melody` pass through a temporal network to a vector a bar, `style` and `groove` are the same in
each bar; `chords` and `style` are shared by the voices, `melody` and `groove` are each voice's own. A bar generator a voice turns the
four vectors of a bar into its steps and pitches. The critic reads all bars at once. Trained as a WGAN with gradient penalty (Gulrajani et
al. 2017, eq. 3): a step is a critic step, and the generator moves after every `critic_steps` of them. Excerpts are -1 but for a 1 at the
pitch that sounds; silence is a pitch. One sounds at a time, so that a softmax over the pitches makes the picture.

A convolution whose kernel is its stride is a matrix product of each block, and is written so: the critic's three-dimensional convolutions,
one axis at a time, have the same weights.

Departures: the softmax, for a tanh at each pitch, under which a voice has to learn first that it sings one note; samples come from a
moving average of the generator, whose batch normalisation forgets as slowly as it does, since a mean of weights is not at home in the
statistics of the last ones; the norm of the penalty runs over all axes, where the published code forgets the voices; biases that no loss
reaches (before batch normalisation and the softmax, and of the critic's score) are left out; weights start as Glorot's, since with the
published deviation of 0.02 narrow networks start with no signal at all.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Adam

from generative.data.music.notation.tokens import PITCHES, piece_of
from generative.data.store import Batch, Info
from generative.errors import UsageError
from generative.models.exhibit import Exhibit, Music, Table
from generative.models.model import Average, Loss, Model, Objective
from generative.params import Fraction, Positive, Training, Weight, Width

BAR = 16  # steps that a bar generator makes: one, doubled four times
OCTAVE, OCTAVES = 12, PITCHES // 12


class Params(Training):
    bars: Positive  # of an example, as in its data set
    latent_size: Width  # of each of the four noises
    temporal_width: Width
    bar_width: Width  # of the bar generator's first layer; halved twice
    critic_width: Width  # doubled twice
    critic_dense: Width
    critic_steps: Positive
    penalty_weight: Weight
    average: Fraction  # decay of the generator's moving average
    pieces: Positive  # that are written down for a person


class Noise(NamedTuple):
    chords: Tensor  # (B, Z)
    style: Tensor  # (B, Z)
    melody: Tensor  # (B, V, Z)
    groove: Tensor  # (B, V, Z)


class TemporalNetwork(nn.Module):
    """(B, Z) to (B, bars, Z)."""

    def __init__(self, size: int, width: int, bars: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.ConvTranspose1d(size, width, 2, bias=False), _norm(width), nn.ReLU(),
            nn.ConvTranspose1d(width, size, bars - 1, bias=False), _norm(size), nn.ReLU(),
        )  # fmt: skip

    def forward(self, z: Tensor) -> Tensor:
        return self.layers(z[..., None]).transpose(1, 2)


class Unfold(nn.Module):
    """A transposed convolution whose kernel is its stride, along the last axis but one: (B, T, C) to (B, times T, D), normalised, ReLU."""

    def __init__(self, before: int, after: int, times: int) -> None:
        super().__init__()
        self.kernel, self.norm, self.times = nn.Linear(before, times * after, bias=False), _norm(after), times

    def forward(self, x: Tensor) -> Tensor:
        x = self.kernel(x).unflatten(2, (self.times, -1))
        return F.relu(self.norm(x.flatten(0, 2))).unflatten(0, (len(x), -1))


class BarGenerator(nn.Module):
    """(B, 4 Z) to one voice's bar (B, 16, 84) in [-1, 1]: time doubles four times, then pitch grows to 7 octaves of 12."""

    def __init__(self, size: int, width: int) -> None:
        super().__init__()
        half, quarter = width // 2, width // 4
        self.dense = nn.Sequential(nn.Linear(size, width, bias=False), _norm(width), nn.ReLU())
        self.time = nn.Sequential(Unfold(half, half, 2), Unfold(half, quarter, 2), Unfold(quarter, quarter, 2))
        self.octaves, self.notes = Unfold(quarter, quarter, OCTAVES), nn.Linear(quarter, OCTAVE, bias=False)

    def forward(self, z: Tensor) -> Tensor:
        hidden = self.time(self.dense(z).unflatten(1, (2, -1)))  # (B, 16, C)
        logits = self.notes(self.octaves(hidden)).float().reshape(len(z), BAR, PITCHES)
        return 2 * logits.softmax(-1) - 1


class Generator(nn.Module):
    def __init__(self, params: Params, voices: int) -> None:
        super().__init__()
        size = params.latent_size
        self.chords = TemporalNetwork(size, params.temporal_width, params.bars)
        self.melody = nn.ModuleList([TemporalNetwork(size, params.temporal_width, params.bars) for _ in range(voices)])
        self.voices = nn.ModuleList([BarGenerator(4 * size, params.bar_width) for _ in range(voices)])

    def forward(self, noise: Noise) -> Tensor:
        """(B, V, bars, 16, 84) in [-1, 1]."""
        chords, bars = self.chords(noise.chords), []  # (B, bars, Z)
        style = noise.style[:, None].expand_as(chords)
        for voice, (melody, generator) in enumerate(zip(self.melody, self.voices, strict=True)):
            groove = noise.groove[:, voice, None].expand_as(chords)
            z = torch.cat([chords, style, melody(noise.melody[:, voice]), groove], dim=-1)
            bars.append(generator(z.flatten(0, 1)).unflatten(0, z.shape[:2]))
        return torch.stack(bars, dim=1)


class Critic(nn.Module):
    """(B, V, bars, 16, 84) to a score (B,): first over bars, then over the notes of an octave and the octaves, then over time."""

    def __init__(self, params: Params, voices: int) -> None:
        super().__init__()
        width = params.critic_width
        self.pairs = nn.Linear(2 * voices, width)
        self.bars = nn.Linear((params.bars - 1) * width, width)
        self.notes, self.octaves = nn.Linear(OCTAVE * width, width), nn.Linear(OCTAVES * width, width)
        self.eighths, self.quarters = nn.Linear(2 * width, width), nn.Linear(2 * width, width)
        self.halves = nn.Conv1d(width, 2 * width, 4, stride=2, padding=1)
        self.whole = nn.Conv1d(2 * width, 4 * width, 3, stride=2, padding=1)
        self.dense, self.score = nn.Linear(4 * width, params.critic_dense), nn.Linear(params.critic_dense, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = x.permute(0, 3, 4, 2, 1).unfold(3, 2, 1).flatten(4)  # (B, 16, 84, bars - 1, 2 V)
        x = _leaky(self.bars(_leaky(self.pairs(x)).flatten(3)))  # (B, 16, 84, W)
        x = _leaky(self.notes(x.unflatten(2, (OCTAVES, OCTAVE)).flatten(3)))  # (B, 16, 7, W)
        x = _leaky(self.octaves(x.flatten(2)))  # (B, 16, W)
        for halving in (self.eighths, self.quarters):
            x = _leaky(halving(x.unflatten(1, (-1, 2)).flatten(2)))
        x = _leaky(self.whole(_leaky(self.halves(x.transpose(1, 2)))))
        return self.score(_leaky(self.dense(x.flatten(1))))[:, 0]


class MuseGAN(Model):
    figure = "pitch_distance"

    def __init__(self, params: Params, info: Info) -> None:
        super().__init__()
        names = list(info.vocabulary)
        if info.shape != [params.bars * BAR, len(names)] or any(len(v) != PITCHES for v in info.vocabulary.values()) or params.bars < 2:
            raise UsageError(
                f"bars: musegan expects voices of {PITCHES} pitches in 2 or more bars of {BAR} steps, here {params.bars}; "
                f"{info.name} has examples of shape {info.shape}"
            )
        self.params, self.info, self.names = params, info, names
        self.generator, self.critic = Generator(params, len(names)), Critic(params, len(names))
        for parameter in self.parameters():
            if parameter.dim() > 1:
                nn.init.xavier_uniform_(parameter)
        for module in self.generator.modules():
            if isinstance(module, nn.BatchNorm1d):
                module.momentum = 1 - params.average
        self.average = Average(self.generator, params.average)

    def objectives(self) -> list[Objective]:
        rate = self.params.learning_rate
        critic = Adam(self.critic.parameters(), lr=rate, betas=(0.5, 0.9), eps=1e-7, fused=True)
        generator = Adam(self.generator.parameters(), lr=rate, betas=(0.5, 0.9), eps=1e-7, fused=True)
        return [
            Objective("critic", self._critic_loss, critic),
            Objective("generator", self._generator_loss, generator, every=self.params.critic_steps),
        ]

    def _critic_loss(self, batch: Batch) -> Loss:
        real = self.picture(batch["x"])
        with torch.no_grad():
            made = self.generator(self.noise(len(real)))
        wasserstein = self.critic(made).float().mean() - self.critic(real).float().mean()
        penalty = self.penalty(real, made)
        loss = wasserstein + self.params.penalty_weight * penalty
        return loss, {"loss": loss, "wasserstein": wasserstein, "penalty": penalty}

    def penalty(self, real: Tensor, made: Tensor) -> Tensor:
        """Mean of (|gradient of the critic| - 1)^2 between real and made examples, in float32."""
        with torch.autocast(real.device.type, enabled=False):
            share = torch.rand(len(real), 1, 1, 1, 1, device=real.device)
            between = (real + share * (made - real)).requires_grad_()
            (slope,) = torch.autograd.grad(self.critic(between).sum(), between, create_graph=True)
            return (slope.flatten(1).norm(dim=1) - 1).square().mean()

    def _generator_loss(self, batch: Batch) -> Loss:
        loss = -self.critic(self.generator(self.noise(len(batch["x"])))).float().mean()
        return loss, {"loss": loss}

    def after_step(self, step: int) -> None:
        self.average.update(self.generator, step)

    def noise(self, n: int) -> Noise:
        size, voices, device = self.params.latent_size, len(self.names), self.critic.score.weight.device
        shapes = [(n, size), (n, size), (n, voices, size), (n, voices, size)]
        return Noise(*(torch.randn(shape, device=device) for shape in shapes))

    def picture(self, x: Tensor) -> Tensor:
        """Tokens (B, T, V) as (B, V, bars, 16, 84) of -1 and 1."""
        return F.one_hot(x.transpose(1, 2).unflatten(2, (self.params.bars, BAR)), PITCHES).float() * 2 - 1

    def tokens(self, picture: Tensor) -> Tensor:
        """The likeliest pitch of each voice and step, (B, T, V)."""
        return picture.argmax(-1).flatten(2).transpose(1, 2)

    def evaluate(self, batch: Batch) -> dict[str, Tensor]:
        """`pitch_distance`: total variation between the pitches of held-out and of as many made excerpts, a mean over the voices."""
        x = batch["x"]
        made = self.average(self.noise(len(x)))
        used = [F.one_hot(tokens, PITCHES).float().mean((0, 1)) for tokens in (x, self.tokens(made))]  # (V, 84)
        gap = self.critic(self.picture(x)).float().mean() - self.critic(made).float().mean()
        return {"pitch_distance": (used[0] - used[1]).abs().sum(-1).mean() / 2, "critic_gap": gap}

    def sample(self, n: int, condition: Tensor | None = None) -> Tensor:
        self.unconditional(condition)
        return self.tokens(self.average(self.noise(n)))

    def exhibits(self, batch: Batch) -> list[Exhibit]:
        vocabulary = self.info.vocabulary
        made = self.sample(self.params.pieces).cpu().numpy()
        chorales = [piece_of(x, vocabulary, f"Chorale {i + 1}") for i, x in enumerate(made)]
        noise = self.noise(1)
        variants = [("as drawn", noise), *((f"other {name}", self._redrawn(noise, name)) for name in Noise._fields)]
        pieces = [piece_of(self.tokens(self.average(z))[0].cpu().numpy(), vocabulary, title) for title, z in variants]
        return [
            Music("chorales", "Chorales, each made from four noises of its own.", chorales),
            Music("redrawn", f"One piece, and the same with one noise redrawn: chords, style, the melody of the {self.names[0]}, "
                  f"the groove of the {self.names[-1]}.", pieces),
            self._changes(),
        ]  # fmt: skip

    def _redrawn(self, noise: Noise, name: str) -> Noise:
        """The same noise but for a new `name`: of the first voice where it is the melody, of the last where it is the groove."""
        fresh, old = getattr(self.noise(len(noise.chords)), name), getattr(noise, name)
        if old.dim() == 3:
            voice = 0 if name == "melody" else len(self.names) - 1
            fresh = torch.cat([old[:, :voice], fresh[:, voice : voice + 1], old[:, voice + 1 :]], dim=1)
        return noise._replace(**{name: fresh})

    def _changes(self, count: int = 100) -> Table:
        noise = self.noise(count)
        before = self.tokens(self.average(noise))
        rows: list[list[str | float]] = []
        for name in Noise._fields:
            after = self.tokens(self.average(self._redrawn(noise, name)))
            rows.append([name, *((before != after).float().mean((0, 1)) * 100).round().tolist()])
        caption = "Steps of each voice (per cent) that change when one noise is redrawn: chords and style reach all, melody and groove one."
        return Table("changes", caption, ["redrawn", *self.names], rows)


def _norm(width: int) -> nn.BatchNorm1d:
    return nn.BatchNorm1d(width, eps=1e-3)


def _leaky(x: Tensor) -> Tensor:
    return F.leaky_relu(x, 0.3)
