"""The layers of language: attention, decoders, recurrent cells, the loss of a large vocabulary, and the choice of a token."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from generative.models import writing
from generative.nn.attention import allowed
from generative.nn.recurrent import Recurrent
from generative.nn.transformer import Block, Decoder, sine_positions
from generative.nn.vocabulary import PIECE, choose, cross_entropy, nats
from generative.training import device


def test_a_block_equals_torchs_own_encoder_layer_under_a_causal_mask() -> None:
    torch.manual_seed(0)
    theirs = nn.TransformerEncoderLayer(24, 3, 40, 0.0, batch_first=True, layer_norm_eps=1e-6).double()
    ours = Block(24, 3, 8, 40, 0.0).double()
    names = {"attention.inward.weight": "self_attn.in_proj_weight", "attention.inward.bias": "self_attn.in_proj_bias"}
    parts = {
        "attention.outward": "self_attn.out_proj",
        "norm_attention": "norm1",
        "norm_feed": "norm2",
        "inward": "linear1",
        "outward": "linear2",
    }
    names |= {f"{mine}.{kind}": f"{other}.{kind}" for mine, other in parts.items() for kind in ("weight", "bias")}
    ours.load_state_dict({mine: theirs.state_dict()[other] for mine, other in names.items()})
    x = torch.randn(2, 7, 24, dtype=torch.float64)
    assert torch.allclose(ours(x), theirs(x, src_mask=~allowed(7, 7, x.device)), atol=1e-12)


def test_a_decoder_reads_on_from_its_caches_in_pieces_of_any_length() -> None:
    decoder = Decoder(2, 16, 3, 5, 32, 0.1).double().eval()
    x = torch.randn(2, 12, 16, dtype=torch.float64)
    caches = decoder.caches(12)
    pieces = [decoder(piece, caches) for piece in x.split([4, 3, 1, 4], dim=1)]
    assert torch.allclose(torch.cat(pieces, dim=1), decoder(x), atol=1e-12)
    weights = decoder.attention(x)[1]
    assert torch.allclose(weights.sum(-1), torch.ones(2, 3, 12))
    assert not weights.triu(1).any()


def test_sine_positions_turn_at_their_wavelengths() -> None:
    codes = sine_positions(50, 6)
    assert codes[0].tolist() == [0, 1, 0, 1, 0, 1]
    assert codes[3, :2].tolist() == pytest.approx([math.sin(3), math.cos(3)])
    assert codes[3, 4:].tolist() == pytest.approx([math.sin(3 / 10_000 ** (4 / 6)), math.cos(3 / 10_000 ** (4 / 6))])


def test_the_loss_in_pieces_without_padding_equals_the_plain_one_to_a_millionth() -> None:
    torch.manual_seed(0)
    head, x = nn.Linear(32, 1000), torch.randint(1, 1000, (40, 30))
    for row in range(40):
        x[row, 10 + row // 2 :] = 0
    hidden = torch.randn(40, 30, 32, requires_grad=True)
    keep = writing.real(x)
    assert keep.sum() > 2 * PIECE
    target = x.masked_fill(~keep, -100)
    plain = F.cross_entropy(head(hidden).flatten(0, 1), target.flatten(), ignore_index=-100)
    expected = torch.autograd.grad(plain, [hidden, head.weight, head.bias])
    ours = cross_entropy(hidden[keep], x[keep], head)
    found = torch.autograd.grad(3 * ours, [hidden, head.weight, head.bias])
    assert ours.item() == pytest.approx(plain.item(), abs=1e-6)
    for mine, theirs in zip(found, expected, strict=True):
        assert torch.allclose(mine / 3, theirs, atol=1e-8)
    assert nats(hidden[keep], x[keep], head).mean().item() == pytest.approx(plain.item(), abs=1e-6)


def test_the_loss_in_pieces_survives_a_word_that_was_held_for_impossible() -> None:
    head = nn.Linear(1, 3)
    with torch.no_grad():
        head.weight.copy_(torch.tensor([[0.0], [500.0], [-500.0]]))
        head.bias.zero_()
    hidden = torch.ones(1, 1, requires_grad=True)
    loss = cross_entropy(hidden, torch.tensor([2]), head)
    assert loss.item() == 1000
    (slope,) = torch.autograd.grad(loss, hidden)
    assert slope.item() == 1000


@pytest.mark.parametrize(
    ("temperature", "top_k", "top_p", "expected"),
    [
        (1.0, 0, 1.0, [0.5, 0.25, 0.15, 0.1]),
        (0.5, 0, 1.0, [0.25, 0.0625, 0.0225, 0.01]),
        (1.0, 2, 1.0, [0.5, 0.25, 0, 0]),
        (1.0, 0, 0.7, [0.5, 0.25, 0, 0]),
        (1.0, 0, 0.76, [0.5, 0.25, 0.15, 0]),
        (1.0, 3, 0.5, [0.5, 0, 0, 0]),
        (0.0, 0, 1.0, [1, 0, 0, 0]),
        (1e-300, 0, 1.0, [1, 0, 0, 0]),
        (1e-300, 3, 0.9, [1, 0, 0, 0]),
    ],
)
def test_a_token_is_chosen_among_the_probable_ones_with_their_chances(
    temperature: float, top_k: int, top_p: float, expected: list[float]
) -> None:
    device.seed(1)
    logits = torch.tensor([0.1, 0.5, 0.15, 0.25]).log().expand(40_000, -1)
    found = choose(logits, temperature, top_k, top_p).bincount(minlength=4)[[1, 3, 2, 0]] / 40_000
    assert found.tolist() == pytest.approx([share / sum(expected) for share in expected], abs=0.01)


def test_recurrent_layers_start_with_an_open_forget_gate_and_orthogonal_kernels() -> None:
    layer: Any = Recurrent("stacked", 5, 8, 0).layers[1]
    gates = (layer.bias_ih_l0 + layer.bias_hh_l0).split(8)
    assert [gate.unique().tolist() for gate in gates] == [[0], [1], [0], [0]]  # input, forget, cell, output
    for kernel in layer.weight_hh_l0.split(8):
        assert torch.allclose(kernel @ kernel.T, torch.eye(8), atol=1e-5)


@pytest.mark.parametrize("cell", ["lstm", "gru", "bidirectional"])
def test_gates_that_start_open_keep_values_for_up_to_as_many_steps_as_asked(cell: Any) -> None:
    torch.manual_seed(0)
    for layer in Recurrent(cell, 5, 200, 50).layers:
        gates = (layer.bias_ih_l0 + layer.bias_hh_l0).detach().split(200)  # type: ignore[operator,union-attr]
        spans = 1 / (1 - gates[1].sigmoid())  # of a value that shrinks by the gate at each step
        assert spans.min() == pytest.approx(2, abs=1)
        assert spans.max() == pytest.approx(51, abs=1)
        assert spans.mean() == pytest.approx(26.5, abs=3)
        assert not any(gate.any() for number, gate in enumerate(gates) if number != 1)
