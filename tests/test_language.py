"""What only the papers of the language models state: causality, caches, exact figures, and how they write."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import ROOT, read_yaml
from torch import Tensor, nn

from generative import models
from generative.data.store import Info
from generative.errors import UsageError
from generative.models import writing
from generative.models.exhibit import Heatmap, Table, Text
from generative.models.model import Model
from generative.nn.vocabulary import choose
from generative.params import typed
from generative.stages.again import again
from generative.training import device

WORDS = ["<stop>", "<unknown>", *(f" w{n}" for n in range(18))]


def info(words: list[str] = WORDS, length: int = 12, attributes: tuple[str, ...] = ()) -> Info:
    counts = {"train": 1, "validation": 1, "test": 1}
    return Info(name="none", kind="text", shape=[length], classes=[], attributes=list(attributes), values={}, vocabulary={"text": words},
                counts=counts, fingerprint="", notes=[])  # fmt: skip


def small(name: str, attributes: tuple[str, ...] = (), **changes: Any) -> Model:
    """An entry at the size of a test."""
    block = read_yaml(ROOT / "params.yaml")["models"][name] | read_yaml(ROOT / "tests/tiny.yaml")["models"][name] | changes
    params, kind = models.find(block["model"], name)
    device.seed(3)
    return kind(typed(params, block, name), info(attributes=attributes)).eval()  # type: ignore[call-arg]


def texts(n: int = 6, length: int = 12, seed: int = 0) -> Tensor:
    """(n, length) texts of different lengths; the first fills its row."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randint(2, len(WORDS), (n, length), generator=generator)
    for row in range(1, n):
        x[row, int(torch.randint(1, length, (1,), generator=generator)) :] = 0
    return x


WRITERS = [("gpt", {"blocks": 2}), ("lstm", {"cell": "lstm"}), ("lstm", {"cell": "gru"}), ("lstm", {"cell": "stacked"})]


@pytest.mark.parametrize(("name", "size", "parameters"), [
    ("gpt", {"blocks": 1, "width": 256, "heads": 2, "head_size": 256, "hidden": 256}, 5_809_168),
    ("lstm", {"embedding": 100, "units": 128, "cell": "lstm"}, 2_407_248 + 4 * 128),  # torch's second bias
])  # fmt: skip
def test_the_published_sizes_have_the_published_number_of_parameters(name: str, size: dict[str, Any], parameters: int) -> None:
    block = read_yaml(ROOT / "params.yaml")["models"][name] | size
    params, kind = models.find(block["model"], name)
    with torch.device("meta"):
        model = kind(typed(params, block, name), info([str(n) for n in range(10_000)], 80))  # type: ignore[call-arg]
    assert sum(p.numel() for p in model.parameters()) == parameters


@pytest.mark.parametrize(("name", "size"), WRITERS)
def test_what_is_written_with_a_cache_is_what_is_written_without_token_for_token(name: str, size: dict[str, Any]) -> None:
    model = small(name, **size, temperature=0.7, top_k=9, top_p=0.9)
    prompt = torch.tensor([4, 5, 6])
    with torch.no_grad():
        device.seed(5)
        cached = model.sample(50, prompt)
        device.seed(5)
        x, open_ = torch.cat([prompt.expand(50, -1), torch.zeros(50, 9, dtype=torch.int64)], dim=1), torch.ones(50, dtype=torch.bool)
        for place in range(3, 12):
            hidden = model.read(writing.before(x[:, : place + 1]), None)[0]  # type: ignore[operator]
            x[:, place] = choose(model.head(hidden[:, -1]), 0.7, 9, 0.9).where(open_, 0)  # type: ignore[operator]
            open_ &= x[:, place] != 0
    assert torch.equal(cached, x)
    assert len(cached.unique(dim=0)) > 25


@pytest.mark.parametrize(("name", "size"), WRITERS)
def test_a_token_is_predicted_from_all_before_it_and_from_nothing_after(name: str, size: dict[str, Any]) -> None:
    model = small(name, **size)
    for place in (0, 4, 11):
        seen = _influences(model, lambda x: model.read(writing.before(x), None)[0], place)  # type: ignore[operator]
        assert seen == list(range(place))


def test_the_bidirectional_cell_predicts_a_token_from_all_others_but_not_from_itself() -> None:
    model = small("lstm", cell="bidirectional")
    for place in (0, 4, 11):
        assert _influences(model, model._around, place) == [other for other in range(12) if other != place]  # type: ignore[arg-type]


def _influences(model: Model, hidden: Any, place: int) -> list[int]:
    """The tokens of a text on which the prediction of one depends, by gradient through the embedding."""
    vectors: list[Tensor] = []

    def keep(module: nn.Module, inputs: Any, output: Tensor) -> Tensor:
        vectors.append(output.detach().requires_grad_())
        return vectors[-1]

    hook = model.tokens.register_forward_hook(keep)  # type: ignore[union-attr]
    result = hidden(texts(1))
    hook.remove()
    (slope,) = torch.autograd.grad(result[0, place].square().sin().sum(), vectors[-1])  # normalised, its sum is constant
    return [at - 1 for at in slope[0].abs().sum(1).nonzero().flatten().tolist() if 0 < at <= 12]  # a stop stands before the first


@pytest.mark.parametrize(("name", "size"), [*WRITERS, ("lstm", {"cell": "bidirectional"})])
def test_held_out_figures_do_not_depend_on_how_texts_are_batched(name: str, size: dict[str, Any]) -> None:
    model, x, known = small(name, ("log_probability",), **size), texts(), torch.linspace(-3, -8, 6)[:, None]
    with torch.no_grad():
        whole = model.evaluate({"x": x, "attributes": known})
        parts = [model.evaluate({"x": x[i : i + 1], "attributes": known[i : i + 1]}) for i in range(6)]
    means = {key: sum(part[key].item() for part in parts) / 6 for key in whole}
    assert {key: value.item() for key, value in whole.items()} == pytest.approx(means, rel=1e-5)
    figures = model.summary(means)
    assert figures["perplexity"] == pytest.approx(math.exp(6 * means["nats"] / writing.real(x).sum().item()))
    assert figures["padded_loss"] == pytest.approx(means["nats"] / 12)
    assert means["grammar_nats"] == pytest.approx(5.5)
    assert figures["above_grammar"] == pytest.approx(math.exp((means["nats"] - 5.5) / means["tokens"]) - 1)


def test_a_text_is_real_up_to_its_first_stop_and_with_it() -> None:
    x = torch.tensor([[4, 5, 0, 0], [4, 5, 6, 7], [0, 0, 0, 0]])
    assert writing.real(x).int().tolist() == [[1, 1, 1, 0], [1, 1, 1, 1], [1, 0, 0, 0]]
    assert writing.before(x).tolist() == [[0, 4, 5, 0], [0, 4, 5, 6], [0, 0, 0, 0]]
    assert writing.trimmed(x[::2]).shape == (2, 3)


@pytest.mark.parametrize("name", ["gpt", "lstm"])
def test_a_text_keeps_its_beginning_and_ends_at_its_stop(name: str) -> None:
    model = small(name)
    with torch.no_grad():
        model.head.bias[0] += 2  # type: ignore[index,union-attr]
        written = model.sample(200, torch.tensor([7, 8]))
    assert (written[:, :2] == torch.tensor([7, 8])).all()
    ended = (written == 0).any(1)
    assert 20 < ended.sum() < 200
    assert not written[~writing.real(written)].any()
    with pytest.raises(UsageError, match="prompt: expected less than the 12 tokens of a text, got 12"):
        model.sample(1, torch.ones(12, dtype=torch.int64))
    with pytest.raises(UsageError, match=r"sample\.top_p: expected less than or equal to 1, got 2.0"):
        model.sample(1, top_p=2.0)


def test_options_go_before_the_block() -> None:
    model = small("gpt", temperature=5.0)
    with torch.no_grad():
        assert len(model.sample(30, temperature=0.0).unique(dim=0)) == 1
        assert len(model.sample(30, top_k=1).unique(dim=0)) == 1
        assert len(model.sample(30).unique(dim=0)) > 20


def test_the_bidirectional_cell_refuses_to_write_and_encodes() -> None:
    model = small("lstm", cell="bidirectional")
    with pytest.raises(UsageError, match=r"cell: bidirectional reads a text from both ends"):
        model.sample(1)
    assert model.encode({"x": texts()})["x"].shape == (6, 16)
    with torch.no_grad():
        (shown,) = model.exhibits({"x": texts()})
    assert isinstance(shown, Table)


@pytest.mark.parametrize("name", ["gpt", "lstm"])
def test_exhibits_show_texts_and_the_five_candidates_of_each_word(name: str) -> None:
    model = small(name)
    with torch.no_grad():
        warm, cool, table, *pictures = model.exhibits({"x": texts()})
    assert isinstance(warm, Text)
    assert isinstance(cool, Text)
    assert isinstance(table, Table)
    assert len(warm.lines) == writing.TEXTS
    for row in table.rows:
        shares = [float(str(cell).split()[-2]) for cell in row[2:]]
        assert shares == sorted(shares, reverse=True)
        assert sum(shares) <= 100.5
        assert shares[0] >= (0.1 if row[1] == "given" else float(str(row[1]).split()[0]))
    assert [row[1] for row in table.rows[: writing.PROMPT]] == ["given"] * writing.PROMPT
    if name == "gpt":
        (attention,) = pictures
        assert isinstance(attention, Heatmap)
        assert attention.columns == ["<start>", *attention.rows[:-1]]
        assert torch.allclose(attention.values.sum(1), torch.ones(len(attention.rows)))


def test_images_are_no_texts() -> None:
    pictures = info().model_copy(update={"kind": "images"})
    with pytest.raises(UsageError, match="data: a language model needs texts, and none has images"):
        writing.vocabulary(pictures)


@pytest.mark.xdist_group("built")
def test_a_prompt_from_the_command_line_is_continued(in_built: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    again("gpt", {"prompt": "Wine review: France : qqq", "count": "3", "temperature": "0.5", "out": str(out)})
    printed = capsys.readouterr()
    assert printed.err == "not in the vocabulary: qqq\n"
    lines = (out / "samples.txt").read_text().splitlines()
    assert len(lines) == 3
    assert all(line.startswith("wine review : france : <unknown>") for line in lines)
    assert lines[0] in printed.out
    with pytest.raises(UsageError, match="--prompt: glyphs has images, no texts"):
        again("vae", {"prompt": "x", "out": str(tmp_path / "other")})


@pytest.mark.xdist_group("built")
@pytest.mark.parametrize("name", ["gpt", "lstm"])
def test_what_was_written_is_compared_with_held_out_texts_and_the_grammar(name: str, in_built: Path) -> None:
    figures = json.loads((in_built / "data/metrics" / name / "figures.json").read_text())
    assert figures["agreement_floor"] == 1
    assert figures["agreement_untrained"] == 0
    assert figures["copied_floor"] > figures["copied_untrained"]
    assert figures["grammar_perplexity"] < figures["perplexity"]
