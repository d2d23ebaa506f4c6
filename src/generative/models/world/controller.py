"""The controller of World Models (Ha and Schmidhuber 2018, arXiv:1803.10122), section 2.3: one linear layer on what V sees and M remembers.

    a_t = W_c [z_t h_t] + b_c, each action then squashed into its range: steering tanh, gas (tanh + 1) / 2, brake max(tanh, 0); a step to
    the left, none or one to the right by the third of tanh

It is evolved by CMA-ES, in the world itself or inside a dream of M (section 4), and is then judged in gymnasium's unmodified environment.

Departures: a diagonal covariance; two or four trials in the world for each candidate, on the same tracks for all of a generation, instead
of 16 for each of 64 (in dreams, which cost little, as many as the block says); a decision holds for some frames; an episode of the search
ends when `patience` decisions brought no reward; in a dream, M's reward head says what a decision earns, where the paper's dreams count
the steps survived; a dream goes on from a moment of the training data, which M has been shown `lead` frames of, and lasts `dreamed`
decisions, because it drifts; gas and brake are separate outputs.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Sequence
from functools import partial
from typing import Annotated, Any, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.utils import parameters_to_vector

from generative.data.rollouts.cover import episode as cover
from generative.data.rollouts.racing import episode as racing
from generative.data.store import Batch, Info, Split
from generative.errors import UsageError
from generative.models.exhibit import Exhibit, Film, Sheet, Table
from generative.models.model import Model, Objective
from generative.nn.controls import act, at_random, held, squash
from generative.nn.driving import Archive, Arena, Beginnings, Diary, Dream, Episodes, Led, Policy, World, drive
from generative.params import Evolution, Positive

WORLDS: dict[str, Any] = {"car": racing.Episode, "doom": cover.Episode}
FILM, ANCHOR = 300, 40  # decisions of a film, and after how many of them M's dream is shown the truth again
CALIBRATION = 77_000_000  # the seeds from here on are those of calibration
CALIBRATED = 32  # dreams of each policy that are compared with the world
MOMENTS = 256  # of training episodes, from which dreams go on


class Params(Evolution):
    world: Literal["car", "doom"]  # gymnasium's CarRacing-v3, or take cover of vizdoom, which is then to be installed
    evolved_in: Literal["world", "dream"]
    memory: Literal["trained", "untrained", "none"]  # M as it was trained, with random weights, or not looked at
    latent_size: Positive
    action_repeat: Positive  # frames a decision holds, as in the rollouts
    decisions: Positive  # of an episode of the search, at most
    patience: Positive  # decisions without reward that end an episode of the search
    temperature: Annotated[float, Field(gt=0, le=10)]  # of dreams
    lead: Positive  # frames of the training data that M is shown before a dream begins
    dreamed: Positive  # decisions of a dream, at most
    gate: Annotated[float, Field(gt=0)]  # what dreams may be off by before anything is evolved in them: mean difference of the return
    wander: Annotated[float, Field(ge=0)]  # deviation, at most, of what is added to its weights when it is to collect episodes (`encode`)


class Controller(Model):
    figure = "return"
    larger_is_better = True
    logged = ("decisions",)

    def __init__(self, params: Params, info: Info) -> None:
        super().__init__()
        self.params, self.info = params, info
        self.world = WORLDS[params.world]
        self.policy = nn.Linear(params.latent_size if params.memory == "none" else info.shape[-1], len(self.world.controls))
        nn.init.zeros_(self.policy.weight)
        nn.init.zeros_(self.policy.bias)
        if params.lead >= info.shape[0]:
            raise UsageError(f"lead: expected less than the {info.shape[0]} frames of an episode, got {params.lead}")
        self.codes: Tensor
        self.actions: Tensor
        self.at: Tensor
        self.seeds: Tensor
        longest = max(info.shape[0], params.decisions)  # ways from a world's beginning
        self.register_buffer("codes", torch.zeros(MOMENTS, params.lead + 1, params.latent_size))
        self.register_buffer("actions", torch.zeros(MOMENTS, longest, len(self.world.controls)))
        self.register_buffer("at", torch.full((MOMENTS,), params.lead))
        self.register_buffer("seeds", torch.full((MOMENTS,), -1))
        self.frozen: tuple[Any, ...] = ()  # V and M, in a tuple: no part of the weights
        self.arenas: dict[str, Arena] = {}  # with their cars, which live from one chunk to the next

    def receive(self, frozen: Sequence[Model], train: Split | None) -> None:
        vision, memory = frozen
        device = next(memory.parameters()).device
        if self.params.memory == "untrained":
            with torch.random.fork_rng([]):
                torch.manual_seed(self.params.seed)
                memory = type(memory)(memory.params, memory.info).to(device).eval()  # type: ignore[call-arg]
        self.frozen = (vision, memory)
        if train is not None:
            self._keep_moments(train)

    def _keep_moments(self, train: Split) -> None:
        """Moments of the training episodes, any at which an episode has not ended and that has `lead` frames before it."""
        lead, random = self.params.lead, torch.Generator().manual_seed(self.params.seed)
        alive = train.arrays["mask"].sum(1).cpu()
        long_enough = torch.nonzero(alive > lead)[:, 0]
        if not len(long_enough):
            raise UsageError(f"lead: expected less than the {int(alive.max())} frames of the longest training episode, got {lead}")
        episodes = long_enough[torch.randint(len(long_enough), (MOMENTS,), generator=random)]
        at = lead + (torch.rand(MOMENTS, generator=random) * (alive[episodes] - lead)).long()
        for number, (episode, moment) in enumerate(zip(episodes.tolist(), at.tolist(), strict=True)):
            self.codes[number] = train.arrays["x"][episode, moment - lead : moment + 1, : self.params.latent_size]
            seed, before = _before(train, episode)
            way = torch.cat([before, train.arrays["action"][episode, :moment]])
            if len(way) > self.actions.shape[1]:
                expected = f"expected at least the {len(way)} that led to a moment of the data"
                raise UsageError(f"decisions: {expected}, got {self.params.decisions}")
            self.actions[number, : len(way)], self.at[number], self.seeds[number] = way, len(way), seed

    def objectives(self) -> list[Objective]:
        return []

    def before_step(self, step: int) -> None:
        if step == 0 and self.params.evolved_in == "dream":
            rows = self.calibration()
            off = float(np.mean([abs(dream - world) for _, world, dream, *_ in rows]))
            if not off <= self.params.gate:
                told = ", ".join(f"{name} {world:.0f} and {dream:.0f}" for name, world, dream, *_ in rows)
                raise UsageError(
                    f"gate: expected returns in dreams within {self.params.gate} of the world's, got {off:.1f} ({told}); "
                    "train M longer or on more rollouts"
                )

    def fitness(self, candidates: Tensor, seeds: Tensor) -> Tensor:
        episodes = self.episodes(self.params.evolved_in, partial(act, self.world.controls, candidates), seeds, self.params.patience)
        return torch.from_numpy(np.stack([episodes.returns, episodes.decisions], 1))

    def episodes(self, arena: str, policy: Policy, seeds: Tensor, patience: int) -> Episodes:
        """One episode a seed, in an arena: world, official, led (the world from where dreams begin) or dream.

        Args:
            policy: (rows, features (K, Z + H)) -> actions (K, A).
        """
        limit = self.params.dreamed if arena == "dream" else self.params.decisions
        return drive(self.frozen[1], self._arena(arena), self._policy(policy), seeds.cpu().numpy(), limit, patience)

    @torch.no_grad()
    def calibration(self) -> list[tuple[str, float, float, float, float]]:
        """(policy, mean return in the world and in dreams, ends a hundred decisions in both) of policies that do not look.

        In the world as in dreams they take over at the same moments of recorded episodes (`Led`).
        """
        seeds, length = np.arange(CALIBRATED) + CALIBRATION, self.params.dreamed
        rows = []
        for name in (*self.world.held, "random"):
            lived = []
            for arena in ("led", "dream"):
                policy = at_random(self.world.controls, seeds) if name == "random" else held(self.world.held[name])
                lived.append(drive(self.frozen[1], self._arena(arena), policy, seeds, length, length))
            ends = [float(100 * one.ended.sum() / one.decisions.sum()) for one in lived]
            rows.append((name, *(float(one.returns.mean()) for one in lived), *ends))
        return rows

    def sample(self, n: int, condition: Tensor | None = None) -> Tensor:
        """(n, T, Z + H) what it knows at each decision of as many drives on tracks drawn with torch's random state; 0 after their end."""
        self.unconditional(condition)
        lived, clock = torch.zeros(n, *self.info.shape, device=self.at.device), itertools.count()

        def noted(rows: Tensor, features: Tensor) -> Tensor:
            lived[rows, next(clock)] = features
            return self._policy(self.own)(rows, features)

        length = self.info.shape[0]
        drive(self.frozen[1], self._arena("world"), noted, torch.randint(2**31, (n,)).numpy(), length, length)
        return lived

    def judged(self, seeds: Tensor) -> Tensor:
        """(K,) returns of this controller on tracks of gymnasium's unmodified environment, each driven to its end."""
        return self._whole("official", self.own, seeds)

    def driven(self, seeds: Tensor) -> Tensor:
        """(K,) the same in the fast environment."""
        return self._whole("world", self.own, seeds)

    def dreamed(self, seeds: Tensor) -> Tensor:
        """(K,) the same in dreams of M."""
        return self._whole("dream", self.own, seeds)

    def begun(self, seeds: Tensor) -> Tensor:
        """(K,) returns in the fast environment of the candidates with which the search begins, one a track."""
        generator = torch.Generator().manual_seed(int(seeds[0]))
        size = sum(parameter.numel() for parameter in self.parameters())
        candidates = torch.randn(len(seeds), size, generator=generator) * self.params.learning_rate
        return self._whole("world", partial(act, self.world.controls, candidates.to(self.at.device)), seeds)

    def random(self, seeds: Tensor) -> Tensor:
        """(K,) returns in the fast environment of actions drawn evenly from their ranges, without looking."""
        return self._whole("world", at_random(self.world.controls, seeds.cpu().numpy()), seeds)

    def own(self, rows: Tensor, features: Tensor) -> Tensor:
        """What this controller does."""
        return squash(self.world.controls, self.policy(features))

    def evaluate(self, batch: Batch) -> dict[str, Tensor]:
        return {}  # it is measured by driving: metrics/returns.py

    def encode(self, batch: Batch) -> Batch:
        """Episodes cut out of its own drives, as `Archive` has them; x are pictures, uint8 (B, T, C, H, W).

        They are as long as those of the batch, and as many as no controller collected of them, so that each round adds the same.

        The first drive is its own; noise is added to the weights of the others, of the last with the deviation `wander`: what a search
        may try, M should have seen the world answer. Tracks and noise follow from the actions of the batch and the data set's name.
        """
        explored = batch["action"][batch["seed"][:, 0] < 0] if "seed" in batch else batch["action"]
        count, length = explored.shape[:2]
        each = max(1, self.params.decisions // length)  # episodes of a drive
        drives = max(1, -(-count // each))
        own = parameters_to_vector(self.parameters())
        digest = hashlib.sha256(self.params.data.encode() + batch["action"].cpu().numpy().tobytes()).digest()
        random = np.random.default_rng(list(digest))
        noise = torch.from_numpy(random.standard_normal((drives, len(own)), np.float32)).to(own)
        drivers = own + torch.linspace(0, self.params.wander, drives, device=own.device)[:, None] * noise
        archive, policy = Archive(self._arena("world"), each * length), partial(act, self.world.controls, drivers)
        drive(self.frozen[1], archive, self._policy(policy), random.integers(2**31, size=drives), each * length, each * length)
        return {key: torch.from_numpy(rows).flatten(0, 1).unflatten(0, (-1, length))[:count] for key, rows in archive.arrays.items()}

    def exhibits(self, batch: Batch) -> list[Exhibit]:
        diary = Diary(self._arena("world"))
        length = min(FILM, self.params.decisions)
        drive(self.frozen[1], diary, self._policy(self.own), torch.randint(2**31, (1,)).numpy(), length, length)
        vision, memory = self.frozen
        world = torch.from_numpy(np.stack(diary.frames)).permute(0, 3, 1, 2).float().div(127.5).sub(1)
        seen = vision.decode(torch.cat(diary.codes)).cpu()
        dreamt = vision.decode(diary.redreamt(memory, self.params.temperature, ANCHOR)).cpu()
        views = torch.stack([world, seen.clamp(-1, 1), dreamt.clamp(-1, 1)])
        moments = torch.linspace(0, len(world) - 1, 10).long()
        shown: list[Exhibit] = [
            Film(
                "drive",
                f"The controller in a fresh episode: the world, what V sees of it, and what M dreams when it is told the actions alone "
                f"and is shown the truth every {ANCHOR} decisions.",
                torch.cat(list(views), 3),
                self.world.frames_per_second / self.params.action_repeat,
                3,
            ),
            Sheet("moments", "The same at ten moments.", views[:, moments], ["world", "V sees", "M dreams"], seen=True),
        ]
        return [*shown, *self._dreams()] if self.params.evolved_in == "dream" else shown

    def _dreams(self) -> list[Exhibit]:
        """An episode that is nothing but M's dream, and how far dreams can be trusted."""
        codes: list[Tensor] = []

        def noted(rows: Tensor, features: Tensor) -> Tensor:
            codes.append(features[:, : self.params.latent_size])
            return self._policy(self.own)(rows, features)

        vision, memory = self.frozen
        drive(memory, self._arena("dream"), noted, torch.randint(2**31, (1,)).numpy(), self.params.dreamed, self.params.dreamed)
        speed = self.world.frames_per_second / self.params.action_repeat
        film = Film(
            "dream", "The controller in a dream of M, where it was evolved.", vision.decode(torch.cat(codes)).clamp(-1, 1), speed, 3
        )
        columns = ["policy", "return in the world", "return in dreams", "ends a hundred decisions in the world", "in dreams"]
        caption = f"Policies that do not look, {self.params.dreamed} decisions in the world and in dreams: how far dreams can be trusted."
        return [film, Table("calibration", caption, columns, [list(row) for row in self.calibration()])]

    def _whole(self, arena: str, policy: Policy, seeds: Tensor) -> Tensor:
        return torch.from_numpy(self.episodes(arena, policy, seeds, self.params.decisions).returns)

    def _policy(self, policy: Policy) -> Policy:
        """The policy, given of what a driver knows only what this controller looks at."""
        return lambda rows, features: policy(rows, features[:, : self.policy.in_features])

    def _arena(self, name: str) -> Any:
        vision, memory = self.frozen
        if name not in self.arenas:
            beginnings = Beginnings(self.codes, self.actions, self.at, self.seeds)
            if name == "dream":
                self.arenas[name] = Dream(memory, beginnings, self.params.temperature, self.params.dreamed, self.world.end)
            elif name == "led":
                self.arenas[name] = Led(self._arena("world"), beginnings)
            else:
                self.arenas[name] = World(partial(self.world, self.params.action_repeat, official=name == "official"), vision, memory)
        return self.arenas[name]


def _before(train: Split, episode: int) -> tuple[int, Tensor]:
    """The seed with which an episode's world began and all actions (P, A) before the episode; -1 and none where the data do not say."""
    arrays = train.arrays
    if "seed" not in arrays:
        return -1, arrays["action"][episode, :0]
    seed, age = arrays["seed"][episode, 0], arrays["age"][episode, 0]
    earlier = (arrays["seed"] == seed) & (arrays["age"] < age)
    return int(seed), arrays["action"][earlier][arrays["age"][earlier].argsort()]
