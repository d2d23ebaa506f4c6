"""M, the memory of World Models (Ha and Schmidhuber 2018, sections 2.2 and 4.2, appendix A.2): an LSTM whose output is a mixture density.

From the code z of a frame, the action taken at it and what it remembers, M foresees the code of the next frame as a mixture of normals
for each number (Graves 2013, eq. 20), the reward, and whether the episode ends. As in the paper it trains on codes drawn anew from V's
posterior each time, and a temperature makes dreams more or less certain.

Departures: windows of `window` frames in place of whole episodes, from an empty memory each; a head for the reward (the paper's CarRacing
has none), which counts as `LARGEST` where it is more than that to either side, as the hundred is that leaving the field costs; the
logarithm of a deviation is kept within bounds, without which the density of a constant number grows without end.
"""

from __future__ import annotations

from typing import Annotated, NamedTuple

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Adam

from generative.data.store import Batch, Info
from generative.errors import UsageError
from generative.models.exhibit import Exhibit, Film, Lines, Sheet
from generative.models.model import Loss, Model, Objective
from generative.nn.mixture import Mixture
from generative.params import Positive, Training, Weight

State = tuple[Tensor, Tensor]  # hidden state and cell, (B, H) each
BEGINNINGS = 32  # episodes of the training data whose first code and actions dreams are made from
SEEN, SHOWN, EVERY = 8, 14, 4  # frames that M is shown before it dreams; pictures of a dream, and frames from one to the next
LARGEST = 10.0
PLOTTED = 3  # episodes whose rewards are plotted
TEMPERATURES = (0.1, 0.5, 1.0, 1.3)


class Params(Training):
    hidden_size: Positive
    components: Positive  # of the mixture
    action_size: Positive  # numbers of an action in the data
    window: Annotated[int, Field(ge=2)]  # frames that a step trains on, cut out of each episode
    reward_weight: Weight
    done_weight: Weight
    temperature: Annotated[float, Field(gt=0, le=10)]  # of dreams


class Prediction(NamedTuple):
    """What M expects of the next frame: a mixture for each number of its code, the reward until then, the logit of the end."""

    log_weights: Tensor  # (..., K, Z), as the next two
    means: Tensor
    log_scales: Tensor
    reward: Tensor  # (...), as the next
    done: Tensor

    @property
    def code(self) -> Mixture:
        return Mixture(self.log_weights, self.means, self.log_scales)


class Memory(Model):
    figure = "nll"

    def __init__(self, params: Params, info: Info) -> None:
        super().__init__()
        if len(info.shape) != 2:
            raise UsageError(f"data: expected episodes of codes (T, Z), got examples of shape {info.shape}")
        if params.window > info.shape[0]:
            raise UsageError(f"window: expected at most the {info.shape[0]} frames of an episode, got {params.window}")
        self.params, self.info = params, info
        self.length, self.latent_size = info.shape
        self.lstm = nn.LSTM(self.latent_size + params.action_size, params.hidden_size, batch_first=True)
        self.code = nn.Linear(params.hidden_size, self.latent_size * 3 * params.components)
        self.outcome = nn.Linear(params.hidden_size, 2)  # reward and end
        self.first: Tensor
        self.actions: Tensor
        self.register_buffer("first", torch.zeros(BEGINNINGS, self.latent_size))
        self.register_buffer("actions", torch.zeros(BEGINNINGS, self.length, params.action_size))

    def objectives(self) -> list[Objective]:
        return [Objective("foresee", self._loss, Adam(self.parameters(), lr=self.params.learning_rate, fused=True))]

    def _loss(self, batch: Batch) -> Loss:
        if self.training:
            self._keep_beginnings(batch)
        start = int(torch.randint(self.length - self.params.window + 1, ()))
        part = {key: value[:, start : start + self.params.window] for key, value in batch.items()}
        terms = self._terms(part)
        loss = terms["nll"] + self.params.reward_weight * terms["reward_error"] + self.params.done_weight * terms["done_error"]
        return loss, {"loss": loss, **terms}

    def _terms(self, part: Batch) -> dict[str, Tensor]:
        """Means over the frames that an episode has: nats a number of the code, squared error of the reward, nats of the end."""
        z = part["x"] + (part["log_variance"] / 2).exp() * torch.randn_like(part["x"])
        hidden, _ = self.lstm(torch.cat([z, part["action"]], -1)[:, :-1])
        expected = self.predict(hidden)
        nll = -expected.code.log_density(z[:, 1:]).mean(-1)
        reward = (expected.reward - part["reward"][:, :-1].clamp(-LARGEST, LARGEST)).square()
        done = F.binary_cross_entropy_with_logits(expected.done, part["done"][:, :-1], reduction="none")
        there, acted = part["mask"][:, 1:], part["mask"][:, :-1]
        return {"nll": _mean(nll, there), "reward_error": _mean(reward, acted), "done_error": _mean(done, acted)}

    def evaluate(self, batch: Batch) -> dict[str, Tensor]:
        """Over whole episodes, beside what it costs to expect of every frame the same mean and deviation, or the mean reward."""
        x, reward = batch["x"][batch["mask"]], batch["reward"][batch["mask"]].clamp(-LARGEST, LARGEST)
        variance = x.var(0) + batch["log_variance"][batch["mask"]].exp().mean(0)
        blind = 0.5 * (1 + torch.log(2 * torch.pi * variance)).mean()
        return {**self._terms(batch), "nll_blind": blind, "reward_error_blind": reward.var(correction=0)}

    def start(self, n: int) -> State:
        """An empty memory for each of `n` episodes."""
        weight = self.outcome.weight
        return weight.new_zeros(n, self.params.hidden_size), weight.new_zeros(n, self.params.hidden_size)

    def remember(self, z: Tensor, action: Tensor, state: State) -> State:
        """The memory after frames z (B, Z) and the actions (B, A) taken at them: one step of the LSTM."""
        hidden, cell = state
        from_input, from_hidden, input_bias, hidden_bias = self.lstm.all_weights[0]
        gates = F.linear(torch.cat([z, action], 1), from_input, input_bias) + F.linear(hidden, from_hidden, hidden_bias)
        enter, forget, new, leave = gates.chunk(4, 1)
        cell = forget.sigmoid() * cell + enter.sigmoid() * new.tanh()
        return leave.sigmoid() * cell.tanh(), cell

    def predict(self, hidden: Tensor) -> Prediction:
        """What is expected after the frames and actions that led to the hidden state (..., H)."""
        outcome = self.outcome(hidden).float()
        return Prediction(*Mixture.of(self.code(hidden), self.params.components), outcome[..., 0], outcome[..., 1])

    def dream(self, z: Tensor, actions: Tensor, state: State, temperature: float) -> Tensor:
        """(B, T, Z): z (B, Z) and the codes that follow it under the actions (B, T - 1, A)."""
        codes = [z]
        for action in actions.unbind(1):
            state = self.remember(codes[-1], action, state)
            codes.append(self.predict(state[0]).code.drawn(temperature, torch.rand_like(z), torch.randn_like(z)))
        return torch.stack(codes, 1)

    def sample(self, n: int, condition: Tensor | None = None, *, temperature: float | None = None) -> Tensor:
        """Dreams as long as an episode, each from the beginning of one of the training data and under the actions of one."""
        self.unconditional(condition)
        first, actions = (torch.randint(BEGINNINGS, (n,), device=self.first.device) for _ in range(2))
        return self.dream(self.first[first], self.actions[actions][:, :-1], self.start(n), temperature or self.params.temperature)

    def encode(self, batch: Batch) -> Batch:
        """The code beside what M remembers when it sees it: (B, T, Z + H)."""
        hidden, _ = self.lstm(torch.cat([batch["x"], batch["action"]], -1)[:, :-1])
        remembered = F.pad(hidden, (0, 0, 1, 0))  # nothing, at the first frame
        return {**batch, "x": torch.cat([batch["x"], remembered], -1)}

    def decode(self, code: Tensor) -> Tensor:
        return code[..., : self.latent_size]

    def exhibits(self, batch: Batch) -> list[Exhibit]:
        length = min(SEEN + SHOWN * EVERY, self.length)
        futures = self._futures(batch, length)
        told = f"An episode after {SEEN} frames, as V keeps it, and dreamed on from there under the same actions"
        whole = "Whole dreams, each from the first frame of an episode of the training data and under the actions of one."
        names = ["as it was", *(f"dreamed at {t}" for t in TEMPERATURES)]
        apart = max(1, self.length // SHOWN)
        return [
            Sheet("futures", f"{told}, {EVERY} decisions a picture.", futures[:, ::EVERY], names),
            Film("future", f"{told}; from left to right {', '.join(names)}.", futures.transpose(0, 1), 12.5, 3),
            Sheet("dreams", whole, self.sample(4)[:, ::apart][:, :SHOWN]),
            *self._outcomes(batch),
        ]

    def _futures(self, batch: Batch, length: int) -> Tensor:
        """(1 + temperatures, T, Z): what came after the first `SEEN` frames of the liveliest episode, and what is dreamed of it."""
        episode = int((batch["reward"] * batch["mask"])[:, :length].sum(1).argmax())
        z, actions = batch["x"][episode, None], batch["action"][episode, None]
        state = self.start(1)
        for t in range(SEEN):
            state = self.remember(z[:, t], actions[:, t], state)
        dreams = [self.dream(z[:, SEEN], actions[:, SEEN : length - 1], state, temperature) for temperature in TEMPERATURES]
        return torch.cat([z[:, SEEN:length], *dreams])

    def _outcomes(self, batch: Batch) -> list[Lines]:
        """What was foreseen beside what came: rewards of the liveliest episodes, and the chance of the end of some that ended."""
        best = (batch["reward"] * batch["mask"]).sum(1).argsort(descending=True)[:PLOTTED]
        told = "The reward of each decision as it came, and as M foresaw it: that something is coming, not the moment of it."
        shown = [Lines("rewards", told, self._foreseen(batch, best, "reward"), "decision", "reward")]
        if len(ended := batch["done"].any(1).nonzero()[:PLOTTED, 0]):
            told = "The end of episodes as it came, and the chance of it that M foresaw at each decision."
            shown.append(Lines("ends", told, self._foreseen(batch, ended, "done"), "decision", "chance of the end"))
        return shown

    def _foreseen(self, batch: Batch, episodes: Tensor, what: str) -> list[tuple[str, dict[str, tuple[Tensor, Tensor]]]]:
        hidden, _ = self.lstm(torch.cat([batch["x"], batch["action"]], -1)[episodes])
        expected, panels = self.predict(hidden), []
        foreseen = expected.reward if what == "reward" else expected.done.sigmoid()
        for i, number in enumerate(episodes.tolist()):
            t = torch.arange(int(batch["mask"][number].sum()))
            panels.append((f"episode {number + 1}", {"came": (t, batch[what][number][: len(t)]), "foreseen": (t, foreseen[i][: len(t)])}))
        return panels

    def _keep_beginnings(self, batch: Batch) -> None:
        count = min(BEGINNINGS, len(batch["x"]))
        self.first[:count] = batch["x"][:count, 0]
        self.actions[:count] = batch["action"][:count]


def _mean(values: Tensor, there: Tensor) -> Tensor:
    return (values * there).sum() / there.sum().clamp(min=1)
