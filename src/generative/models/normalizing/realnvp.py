"""RealNVP (Dinh, Sohl-Dickstein and Bengio 2017): data become a normal distribution through layers that can be undone.

log p(x) = log N(f(x); 0, 1) + log |det df/dx| (eq. 3), where f is a chain of affine couplings (eqs. 9 to 11) whose masks alternate; its
inverse g turns normal noise into samples. The published notebook's network: s and t of four ReLU layers each, tanh on s, no BatchNorm.
Departures: none of the equations; the notebook's L2 penalty is left out, as it never entered the loss there.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.optim import Adam

from generative.data.store import Batch, Info
from generative.errors import UsageError
from generative.models.exhibit import Exhibit, Histogram, Scatter, Sheet
from generative.models.model import Loss, Model, Objective
from generative.nn.coupling import AffineCoupling
from generative.params import Positive, Training, Widths

ROWS, COLUMNS, HISTOGRAMS = 3, 12, 20


class Params(Training):
    couplings: Positive
    widths: Widths  # of the hidden layers of each of the networks s and t


class RealNVP(Model):
    figure = "nll"

    def __init__(self, params: Params, info: Info) -> None:
        super().__init__()
        self.params, self.info = params, info
        if len(info.shape) != 1 or info.shape[0] < 2:
            raise UsageError(f"data: a coupling halves vectors of 2 numbers or more, {info.name} has examples of shape {info.shape}")
        self.size = info.shape[0]
        self.couplings = nn.ModuleList(AffineCoupling(self.size, params.widths, i % 2 == 1) for i in range(params.couplings))

    def objectives(self) -> list[Objective]:
        optimizer = Adam(self.parameters(), lr=self.params.learning_rate, eps=1e-7, fused=True)
        return [Objective("likelihood", self._loss, optimizer)]

    def _loss(self, batch: Batch) -> Loss:
        nll = -self.log_likelihood(batch["x"]).mean()
        return nll, {"nll": nll}

    def log_likelihood(self, x: Tensor) -> Tensor:
        """log p(x) in nats, (B,)."""
        z, log_determinant = self.flow(x)
        return -0.5 * (z.square() + math.log(2 * math.pi)).sum(-1) + log_determinant

    def flow(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """f(x), and log |det df/dx| (B,)."""
        total = x.new_zeros(len(x))
        for coupling in self.couplings:
            x, log_determinant = coupling(x)
            total = total + log_determinant
        return x, total

    def inverse(self, z: Tensor) -> Tensor:
        """g(z), where g(f(x)) = x."""
        for coupling in reversed(self.couplings):
            z = coupling.inverse(z)  # type: ignore[operator]
        return z

    def evaluate(self, batch: Batch) -> dict[str, Tensor]:
        """`nll` in nats an example; where the data know their density also `nll_true`, below which no model gets on average."""
        figures = self._loss(batch)[1]
        figures["inverse_error"] = (self.inverse(self.flow(batch["x"])[0]) - batch["x"]).abs().mean()
        if "log_density" in batch:
            figures["nll_true"] = -batch["log_density"].mean()
        return figures

    def sample(self, n: int, condition: Tensor | None = None) -> Tensor:
        self.unconditional(condition)
        return self.inverse(self._prior(n))

    def _prior(self, n: int) -> Tensor:
        return torch.randn(n, self.size, device=next(self.parameters()).device)

    def encode(self, batch: Batch) -> Batch:
        return {**batch, "x": self.flow(batch["x"])[0]}

    def decode(self, code: Tensor) -> Tensor:
        return self.inverse(code)

    def exhibits(self, batch: Batch) -> list[Exhibit]:
        x, labels = batch["x"], batch.get("y")
        z, prior = self.flow(x)[0], self._prior(len(x))
        shown: list[Exhibit] = [
            Histogram("histograms", "Each coordinate of f(x) over held-out data, beside the density of the prior.",
                      [(f"z{i + 1}", z[:, i]) for i in range(min(HISTOGRAMS, self.size))], normal=True)
        ]  # fmt: skip
        if self.size == 2:
            panels = [
                ("data x", x, labels),
                ("latent f(x)", z, labels),
                ("prior z", prior, None),
                ("samples g(z)", self.inverse(prior), None),
            ]
            caption = "Held-out data become a round cloud under f; normal noise becomes data under g, f's exact inverse."
            shown.insert(0, Scatter("flow", caption, panels, self.info.classes))
        if self.info.kind == "codes":
            samples = self.sample(ROWS * COLUMNS).unflatten(0, (ROWS, COLUMNS))
            shown.insert(0, Sheet("samples", "Codes drawn from the flow, decoded by the model that made the codes.", samples))
        return shown
