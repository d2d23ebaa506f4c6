"""The controller of World Models (Ha and Schmidhuber 2018, arXiv:1803.10122), section 2.3: one linear layer on what V sees and M remembers.

    a_t = W_c [z_t h_t] + b_c, each action then squashed into its range: steering tanh, gas (tanh + 1) / 2, brake max(tanh, 0); a step to
    the left, none or one to the right by the third of tanh

It is evolved by CMA-ES, in the world itself or inside a dream of M (section 4), and is then judged in gymnasium's unmodified environment.

Departures: a diagonal covariance and a population of tens instead of 64 with 16 trials each; the same tracks for all candidates of a
generation; a decision holds for some frames; an episode of the search ends when `patience` decisions brought no reward; in a dream, M's
reward head says what a decision earns, where the paper's dreams count the steps survived; gas and brake are separate outputs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import count
from typing import Annotated, Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn

from generative.data.rollouts.doom import episode as doom
from generative.data.rollouts.racing import episode as racing
from generative.data.store import Batch, Info, Split
from generative.errors import UsageError
from generative.models.exhibit import Exhibit, Film, Sheet, Table
from generative.models.model import Model, Objective
from generative.nn.driving import Arena, Diary, Dream, Episodes, Policy, World, drive
from generative.params import Evolution, Positive

WORLDS: dict[str, Any] = {"car": racing.Episode, "doom": doom.Episode}
FILM, ANCHOR = 300, 40  # decisions of a film, and after how many of them M's dream is shown the truth again
CALIBRATION = 77_000_000  # the seeds from here on are those of calibration
CALIBRATED = 8, 100  # episodes of each policy that dreams are compared with the world under, and decisions of each
STARTS = 64  # first frames of training episodes, from which dreams begin


class Params(Evolution):
    world: Literal["car", "doom"]  # gymnasium's CarRacing-v3, or take cover of vizdoom, which is then to be installed
    evolved_in: Literal["world", "dream"]
    memory: Literal["trained", "untrained", "none"]  # M as it was trained, with random weights, or not looked at
    latent_size: Positive
    action_repeat: Positive  # frames a decision holds, as in the rollouts
    decisions: Positive  # of an episode of the search, at most
    patience: Positive  # decisions without reward that end an episode of the search
    temperature: Annotated[float, Field(gt=0, le=10)]  # of dreams
    gate: Annotated[float, Field(gt=0)]  # what dreams may be off by before anything is evolved in them: mean difference of the return


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
        self.starts: Tensor
        self.register_buffer("starts", torch.zeros(min(STARTS, info.counts["train"]), params.latent_size))
        self.frozen: tuple[Any, ...] = ()  # V and M, in a tuple: no part of the weights
        self.arenas: dict[str, Arena] = {}  # with their cars, which live from one chunk to the next

    def receive(self, frozen: Sequence[Model], train: Split | None) -> None:
        vision, memory = frozen
        if self.params.memory == "untrained":
            with torch.random.fork_rng([]):
                torch.manual_seed(self.params.seed)
                memory = type(memory)(memory.params, memory.info).to(next(memory.parameters()).device).eval()  # type: ignore[call-arg]
        self.frozen = (vision, memory)
        if train is not None:
            self.starts.copy_(train[: len(self.starts)]["x"][:, 0, : self.params.latent_size])

    def objectives(self) -> list[Objective]:
        return []

    def before_step(self, step: int) -> None:
        if step == 0 and self.params.evolved_in == "dream":
            rows = self.calibration()
            off = float(np.mean([abs(dream - world) for _, world, dream in rows]))
            if not off <= self.params.gate:
                told = ", ".join(f"{name} {world:.0f} and {dream:.0f}" for name, world, dream in rows)
                raise UsageError(
                    f"gate: expected returns in dreams within {self.params.gate} of the world's, got {off:.1f} ({told}); "
                    "train world_rnn longer or on more rollouts"
                )

    def fitness(self, candidates: Tensor, seeds: Tensor) -> Tensor:
        episodes = self.episodes(self.params.evolved_in, partial(act, self.world.controls, candidates), seeds, self.params.patience)
        return torch.from_numpy(np.stack([episodes.returns, episodes.decisions], 1))

    def episodes(self, arena: str, policy: Policy, seeds: Tensor, patience: int) -> Episodes:
        """One episode a seed, in an arena: world, dream or official.

        Args:
            policy: (rows, features (K, Z + H)) -> actions (K, A).
        """
        return drive(self.frozen[1], self._arena(arena), self._policy(policy), seeds.cpu().numpy(), self.params.decisions, patience)

    @torch.no_grad()
    def calibration(self) -> list[tuple[str, float, float]]:
        """(policy, mean return in the world, mean return in dreams) of policies that do not look."""
        episodes, decisions = CALIBRATED
        seeds, length = np.arange(episodes) + CALIBRATION, min(decisions, self.params.decisions)
        rows = []
        for name in (*self.world.held, "random"):
            means = []
            for arena in ("world", "dream"):
                policy = at_random(self.world.controls, seeds) if name == "random" else held(self.world.held[name])
                means.append(float(drive(self.frozen[1], self._arena(arena), policy, seeds, length, length).returns.mean()))
            rows.append((name, *means))
        return rows

    def sample(self, n: int, condition: Tensor | None = None) -> Tensor:
        """(n, T, Z + H) what it knows at each decision of as many drives on tracks drawn with torch's random state; 0 after their end."""
        self.unconditional(condition)
        lived, clock = torch.zeros(n, *self.info.shape, device=self.starts.device), count()

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
        return self._whole("world", partial(act, self.world.controls, candidates.to(self.starts.device)), seeds)

    def random(self, seeds: Tensor) -> Tensor:
        """(K,) returns in the fast environment of actions drawn evenly from their ranges, without looking."""
        return self._whole("world", at_random(self.world.controls, seeds.cpu().numpy()), seeds)

    def own(self, rows: Tensor, features: Tensor) -> Tensor:
        """What this controller does."""
        return squash(self.world.controls, self.policy(features))

    def evaluate(self, batch: Batch) -> dict[str, Tensor]:
        return {}  # it is measured by driving: metrics/returns.py

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
                f"The controller on a fresh track: the world, what V sees of it, and what M dreams when it is told the actions alone "
                f"and is shown the truth every {ANCHOR} decisions.",
                torch.cat(list(views), 3),
                self.world.frames_per_second / self.params.action_repeat,
                3,
            ),
            Sheet("moments", "The same at ten moments.", views[:, moments], ["world", "V sees", "M dreams"], seen=True),
        ]
        return [*shown, *self._dreams(length)] if self.params.evolved_in == "dream" else shown

    def _dreams(self, length: int) -> list[Exhibit]:
        """An episode that is nothing but M's dream, and how far dreams can be trusted."""
        codes: list[Tensor] = []

        def noted(rows: Tensor, features: Tensor) -> Tensor:
            codes.append(features[:, : self.params.latent_size])
            return self._policy(self.own)(rows, features)

        vision, memory = self.frozen
        drive(memory, self._arena("dream"), noted, torch.randint(2**31, (1,)).numpy(), length, length)
        speed = self.world.frames_per_second / self.params.action_repeat
        film = Film(
            "dream", "The controller in a dream of M, where it was evolved.", vision.decode(torch.cat(codes)).clamp(-1, 1), speed, 3
        )
        columns = ["policy", "return in the world", "return in dreams"]
        caption = f"Policies that do not look, {CALIBRATED[1]} decisions in the world and in dreams: how far dreams can be trusted."
        return [film, Table("calibration", caption, columns, [list(row) for row in self.calibration()])]

    def _whole(self, arena: str, policy: Policy, seeds: Tensor) -> Tensor:
        return torch.from_numpy(self.episodes(arena, policy, seeds, self.params.decisions).returns)

    def _policy(self, policy: Policy) -> Policy:
        """The policy, given of what a driver knows only what this controller looks at."""
        return lambda rows, features: policy(rows, features[:, : self.policy.in_features])

    def _arena(self, name: str) -> Any:
        vision, memory = self.frozen
        if name not in self.arenas:
            if name == "dream":
                self.arenas[name] = Dream(memory, self.starts, self.params.temperature, self.params.decisions)
            else:
                self.arenas[name] = World(partial(self.world, self.params.action_repeat, official=name == "official"), vision)
        return self.arenas[name]


def act(controls: Sequence[str], candidates: Tensor, rows: Tensor, features: Tensor) -> Tensor:
    """(K, A) what each of the drivers in `rows` does; a candidate is the weight of its linear layer, row after row, and the bias."""
    mine, size, actions = candidates[rows], features.shape[1], len(controls)
    weight, bias = mine[:, : actions * size].view(-1, actions, size), mine[:, actions * size :]
    return squash(controls, torch.baddbmm(bias[:, :, None], weight, features[:, :, None])[..., 0])


def squash(controls: Sequence[str], raw: Tensor) -> Tensor:
    """(K, A) numbers into the ranges of their actions."""
    return torch.stack([SQUASHED[control](column) for control, column in zip(controls, raw.float().tanh().unbind(1), strict=True)], 1)


def held(action: tuple[float, ...]) -> Policy:
    """Does the same at every decision."""
    return lambda rows, features: torch.tensor(action, device=features.device).expand(len(rows), -1)


def at_random(controls: Sequence[str], seeds: NDArray[np.int64]) -> Policy:
    """Draws every action evenly from its range."""
    generator = torch.Generator().manual_seed(int(seeds[0]))
    low = torch.tensor([0.0 if control in ("half", "positive") else -1.0 for control in controls])

    def policy(rows: Tensor, features: Tensor) -> Tensor:
        drawn = low + (1 - low) * torch.rand(len(rows), len(controls), generator=generator)
        whole = torch.tensor([control == "choice" for control in controls])
        return torch.where(whole, thirds(drawn), drawn).to(features.device)

    return policy


def thirds(x: Tensor) -> Tensor:
    """-1, 0 or 1, for each third of [-1, 1]."""
    return x.sign() * (x.abs() > 1 / 3)


SQUASHED: dict[str, Callable[[Tensor], Tensor]] = {
    "both": lambda x: x,
    "half": lambda x: (x + 1) / 2,
    "positive": lambda x: x.clamp_min(0),
    "choice": thirds,  # M is told what the game was told
}
