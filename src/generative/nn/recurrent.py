"""Recurrent layers over a sequence, started as Keras starts them: Glorot kernels, orthogonal recurrent ones, a forget gate that is open.

Or that is open as wide as what must be remembered is long: a gate at sigmoid(log t) keeps a value for about t steps, so that biases of
log(1) to log(memory) span all of them, and a gradient reaches back that far from the first step (Tallec and Ollivier 2018, section 2; their
input gates, which start closed, learn later here and are left out).
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

Cell = Literal["lstm", "gru", "stacked", "bidirectional"]
State = list[Tensor | tuple[Tensor, Tensor]]  # of each layer: (1, B, D), for an LSTM two of them


class Recurrent(nn.Module):
    """(B, T, before) to (B, T, `size`).

    Args:
        cell: lstm (Hochreiter and Schmidhuber 1997, with a forget gate), gru (Cho et al. 2014), stacked: two LSTMs one above the other,
            bidirectional: two LSTMs side by side, of which the second reads from the end. `size` is twice `units` for it alone.
        memory: steps that forget gates (of a GRU: update gates) span at the start, spread evenly up to this many; 0 starts them as Keras.
    """

    def __init__(self, cell: Cell, before: int, units: int, memory: int) -> None:
        super().__init__()
        kind = nn.GRU if cell == "gru" else nn.LSTM
        inputs = {"stacked": [before, units], "bidirectional": [before, before]}.get(cell, [before])
        self.layers = nn.ModuleList([kind(width, units, batch_first=True) for width in inputs])
        self.both = cell == "bidirectional"
        self.size = 2 * units if self.both else units
        for layer in self.layers:
            _start(layer, units, memory)

    def forward(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Goes on from a state where there is one; at position t the result knows x up to t and no further.

        Bidirectional, the second half of the result at t knows x from t on to the end, and there is no state to go on from.
        """
        if self.both:
            forward, backward = self.layers
            return torch.cat([forward(x)[0], backward(x.flip(1))[0].flip(1)], dim=2), []
        after: State = []
        for number, layer in enumerate(self.layers):
            x, kept = layer(x, state[number] if state else None)
            after.append(kept)
        return x, after


def _start(layer: nn.Module, units: int, memory: int) -> None:
    for name, values in layer.named_parameters():
        gates = values.data.split(units)
        if name.startswith("weight_ih"):
            bound = (6 / (values.shape[0] + values.shape[1])) ** 0.5  # Keras counts all gates as one kernel
            nn.init.uniform_(values, -bound, bound)
        elif name.startswith("weight_hh"):
            for gate in gates:
                nn.init.orthogonal_(gate)
        else:
            nn.init.zeros_(values)
            if name.startswith("bias_ih") and memory:
                nn.init.uniform_(gates[1], 1, memory).log_()
            elif name.startswith("bias_ih") and isinstance(layer, nn.LSTM):
                nn.init.ones_(gates[1])
