"""Models of pixels: what each may see, that probabilities are whole, and that the quick sampler draws what the plain one draws."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from conftest import ROOT, read_yaml
from test_models import count, info, published
from torch import Tensor, nn

from benchmarks.sampling import plain
from generative.data.store import to_pixels, to_unit
from generative.errors import UsageError
from generative.models import find
from generative.models.autoregressive.pixelcnn_mixture import log_probability
from generative.nn.masked import Above, Left, Masked, Point, draw
from generative.params import typed

MODELS = ["pixelcnn", "pixelcnn_mixture"]
SHAPES = [[1, 6, 7], [3, 5, 4]]
ALL = torch.arange(256, dtype=torch.uint8)
EXACT = ALL.double() / 127.5 - 1


def build(name: str, shape: list[int], **changes: Any) -> Any:
    """A small model in float64, with weights far enough from their start to matter."""
    block = read_yaml(ROOT / "params.yaml")["models"][name] | {"width": 12, "dilations": [1, 2]}
    block |= {"levels": 8} if name == "pixelcnn" else {"components": 3}
    params, kind = find(block["model"], name)
    torch.manual_seed(0)
    model = kind(typed(params, block | changes, name), info(shape)).double().eval()  # type: ignore[call-arg]
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    return model


def images(n: int, shape: list[int]) -> Tensor:
    return to_unit(torch.randint(0, 256, (n, *shape), generator=torch.Generator().manual_seed(5)).byte()).double()


def depends(out: Tensor, x: Tensor) -> Tensor:
    """Which values (C, H, W) of the images x the numbers `out`, one or more an image, follow from in any of them."""
    (gradient,) = torch.autograd.grad(out.square().sum(), x, retain_graph=True)
    return (gradient != 0).any(0)


def order(shape: list[int]) -> Tensor:
    """When each value (C, H, W) is drawn: row, column, colour."""
    colours, height, width = shape
    return torch.arange(height * width * colours).view(height, width, colours).permute(2, 0, 1)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_value_follows_from_those_before_it_and_from_nothing_else(shape: list[int]) -> None:
    model, x, when = build("pixelcnn", shape), images(20, shape).requires_grad_(), order(shape)
    logits = model.network(x).unflatten(1, (shape[0], -1))
    for colour, row, column in [(0, 0, 0), (0, 2, 3), (shape[0] - 1, 3, 1), (shape[0] - 1, *(side - 1 for side in shape[1:]))]:
        seen = depends(logits[:, colour, :, row, column], x)
        assert not seen[when >= when[colour, row, column]].any()
        if colour:
            assert seen[:colour, row, column].all()  # the colours before it
        if row and column:
            assert seen[:, row, column - 1].all()
            assert seen[:, row - 1, column].all()


@pytest.mark.parametrize("shape", SHAPES)
def test_a_pixels_mixture_follows_from_the_pixels_before_it(shape: list[int]) -> None:
    model, x, when = build("pixelcnn_mixture", shape), images(20, shape).requires_grad_(), order(shape)
    parameters = model.network(x)
    for row, column in [(0, 0), (2, 2), (4, 3)]:
        seen = depends(parameters[:, :, row, column], x)
        assert not seen[when >= when[0, row, column]].any()
        before = when < when[0, row, column]
        near = torch.zeros_like(before)  # two stacks leave no blind spot: above, everything in reach is seen
        near[:, max(0, row - 2) : row + 1, max(0, column - 2) : column + 3] = True
        assert seen[before & near].all()


def test_a_colour_moves_the_means_of_later_colours_only() -> None:
    model, x = build("pixelcnn_mixture", [3, 2, 2]), images(1, [3, 2, 2]).requires_grad_()
    parameters = torch.randn(1, 3 * (1 + 6 + 3), 2, 2, dtype=torch.float64)
    centres = model.mixture(parameters).centres(x)  # (1, colours, components, 2, 2)
    for colour in range(3):
        seen = depends(centres[:, colour, :, 1, 0], x) if colour else torch.zeros(3, 2, 2, dtype=torch.bool)
        assert seen[:, 1, 0].tolist() == [other < colour for other in range(3)]
        assert seen.sum() == colour


@pytest.mark.parametrize("dilation", [1, 2])
@pytest.mark.parametrize("kind", ["A", "B"])
def test_layers_read_the_window_that_they_name(kind: Any, dilation: int) -> None:
    x = torch.randn(1, 1, 9, 9, dtype=torch.float64).requires_grad_()
    own = 0 if kind == "B" else 1
    square = {(-dilation, c * dilation) for c in (-1, 0, 1)} | {(0, -dilation)}
    here = {
        Masked(1, 1, 3, kind, 1, dilation): square if own else square | {(0, 0)},
        Above(1, 1, 2, 3, kind, dilation): {(-own - r * dilation, c * dilation) for r in (0, 1) for c in (-1, 0, 1)},
        Left(1, 1, 2, kind, dilation): {(0, -own - c * dilation) for c in (0, 1)},
    }
    for layer, expected in here.items():
        seen = depends(layer.double()(x)[0, 0, 4, 4], x)[0].nonzero() - 4
        assert {tuple(place) for place in seen.tolist()} == expected


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("shape", SHAPES)
def test_the_quick_sampler_draws_what_the_plain_one_draws(name: str, shape: list[int]) -> None:
    model, together = build(name, shape), 1 if name == "pixelcnn" else shape[0]
    x = images(5, shape)
    for start in (0, 2):
        torch.manual_seed(3)
        quick = model.complete(x, start)
        torch.manual_seed(3)
        with torch.no_grad():
            slow = plain(model.network, x.clone(), start, model.pixel(1.0), together, most=1000)
        assert torch.equal(quick, slow)
        assert torch.equal(quick[:, :, :start], x[:, :, :start])
        assert len(quick[:, :, start:].unique()) > 4


def test_samples_follow_the_distribution_that_is_measured() -> None:
    """The first two pixels of many samples, against the probability that `surprise` gives to each of their values."""
    model = build("pixelcnn", [1, 1, 2], levels=4)
    every = model.shown(torch.cartesian_prod(torch.arange(4), torch.arange(4)).view(16, 1, 1, 2)).double()
    with torch.no_grad():
        expected = torch.exp(-model.surprise(every).flatten(1).sum(1))
        drawn = model.level(model.sample(20_000)).flatten(1)
    share = torch.bincount(drawn[:, 0] * 4 + drawn[:, 1], minlength=16) / 20_000
    assert expected.sum().item() == pytest.approx(1)
    assert torch.allclose(share, expected.float(), atol=0.015)


def test_the_mixture_draws_what_it_measures() -> None:
    model, parameters = build("pixelcnn_mixture", [1, 1, 1]), torch.randn(1, 9, 1, 1, dtype=torch.float64)
    model.network.forward = lambda x: parameters.expand(len(x), -1, -1, -1)
    with torch.no_grad():
        expected = torch.exp(-model.surprise(to_unit(ALL).double().view(256, 1, 1, 1))).flatten()
        drawn = model.pixel(1.0)(parameters[..., 0, 0].expand(20_000, -1), slice(0, 1))
    share = torch.bincount(to_pixels(drawn).flatten().long(), minlength=256) / 20_000
    for part in (slice(0, 1), slice(1, 85), slice(85, 170), slice(170, 255), slice(255, 256)):
        assert share[part].sum().item() == pytest.approx(expected[part].sum().item(), abs=0.015)


def test_the_colours_of_a_drawn_pixel_follow_from_each_other() -> None:
    """A single narrow component: red is 0.3, green 0.1 + 0.5 red, blue -0.25 red + 0.5 green."""
    model = build("pixelcnn_mixture", [3, 1, 1], components=1)
    mixing = torch.tensor([0.5, -0.25, 0.5]).atanh().tolist()
    parameters = torch.tensor([[0.0, 0.3, 0.1, 0.0, -9.0, -9.0, -9.0, *mixing]])
    assert model.pixel(1.0)(parameters, slice(0, 3))[0].tolist() == pytest.approx([0.3, 0.25, 0.05], abs=0.02)


@pytest.mark.parametrize("log_scale", [-7.0, -4.0, -1.0, 2.0])
@pytest.mark.parametrize("mean", [-1.5, -1.0, 0.003, 0.99, 3.0])
def test_all_values_together_have_the_probability_1(mean: float, log_scale: float) -> None:
    logs = log_probability(ALL, EXACT, torch.tensor(mean).double(), torch.tensor(log_scale).double())
    assert logs.exp().sum().item() == pytest.approx(1, abs=1e-9)
    assert torch.isfinite(logs).all()


def test_a_values_probability_is_a_difference_of_the_distribution_function() -> None:
    """With the edges exact: 0 takes all below, 255 all above."""
    mean, log_scale = torch.tensor(0.2).double(), torch.tensor(-1.5).double()
    upper, lower = (torch.sigmoid((EXACT + side / 255 - mean) / log_scale.exp()) for side in (1, -1))
    upper[-1], lower[0] = 1, 0
    assert torch.allclose(log_probability(ALL, EXACT, mean, log_scale).exp(), upper - lower, atol=1e-12)


@pytest.mark.parametrize("name", MODELS)
def test_the_values_of_a_pixel_have_the_probability_1_whatever_stands_before(name: str) -> None:
    model, x = build(name, [1, 3, 4]), images(1, [1, 3, 4]).expand(256, -1, -1, -1).clone()
    x[:, 0, -1, -1] = to_unit(ALL).double()
    with torch.no_grad():
        nats = model.surprise(x).flatten(1)
    alike = 256 // model.params.levels if name == "pixelcnn" else 1  # values of one level
    assert torch.exp(-nats[:, -1]).sum().item() == pytest.approx(alike)
    assert torch.equal(nats[:, :-1], nats[:1, :-1].expand(256, -1))


def test_bits_are_counted_over_all_values() -> None:
    model = build("pixelcnn_mixture", [3, 5, 4])
    figures = model.evaluate({"x": images(2, [3, 5, 4])})
    assert figures["nats"].item() == pytest.approx(figures["nats_per_dimension"].item() * 60)
    assert figures["bits_per_dimension"].item() == pytest.approx(figures["nats_per_dimension"].item() / math.log(2))


@pytest.mark.parametrize("levels", [2, 4, 8, 16, 32, 64, 128, 256])
def test_levels_are_equal_parts_of_the_values_and_survive_being_shown(levels: int) -> None:
    model = build("pixelcnn", [1, 4, 4], levels=levels)
    level = model.level(to_unit(ALL))
    assert level.tolist() == [value * levels // 256 for value in range(256)]
    shown = model.shown(level)
    assert torch.equal(model.level(shown), level)
    assert (shown.min(), shown.max()) == (-1, 1)


def test_at_256_levels_every_value_comes_back() -> None:
    model = build("pixelcnn", [1, 4, 4], levels=256)
    assert torch.allclose(model.shown(model.level(to_unit(ALL))), to_unit(ALL), atol=1e-7)


@pytest.mark.parametrize("name", MODELS)
def test_low_temperatures_settle_on_the_likeliest_values(name: str) -> None:
    model = build(name, [1, 4, 4])
    torch.manual_seed(0)
    cold, warm = (model.sample(50, temperature=heat).std(0).mean() for heat in (1e-300, 1.0))
    assert cold < 0.05 < warm


@pytest.mark.parametrize("temperature", [0.0, -1.0, math.nan, math.inf])
def test_what_is_no_temperature_is_refused(temperature: float) -> None:
    with pytest.raises(UsageError, match="temperature: "):
        build("pixelcnn", [1, 4, 4]).sample(1, temperature=temperature)


def test_the_published_net_has_the_published_number_of_parameters() -> None:
    assert count(published("pixelcnn", [1, 16, 16])) == 307_460


def test_channels_of_another_number_give_the_same_gradient() -> None:
    """oneDNN's dilated bfloat16 kernels read memory that nobody has written where channels are no multiple of 16."""
    layer = Masked(24, 24, 3, "B", 1, 2).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    x = torch.randn(4, 24, 32, 32).contiguous(memory_format=torch.channels_last)
    gradients = []
    for enabled in (False, True):
        layer.weight.grad = None
        spoiled = [torch.full((2**size,), math.nan) for size in range(10, 23)]  # what is freed here is what the kernel would find
        del spoiled
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            out = layer(x)
        out.float().square().sum().backward()
        gradients.append(layer.weight.grad)
    assert torch.allclose(gradients[1], gradients[0], rtol=0.05, atol=0.02 * gradients[0].abs().max())


def test_sampling_leaves_the_network_as_it_was() -> None:
    model = build("pixelcnn", [1, 4, 4])
    x, keys = images(2, [1, 4, 4]), set(model.state_dict())
    with torch.no_grad():
        before = model.network(x)
        with pytest.raises(ZeroDivisionError):
            draw(model.network, x.clone(), 0, lambda *_: 1 / 0, 1)  # type: ignore[arg-type, return-value]
        assert torch.equal(model.network(x), before)
    assert set(model.state_dict()) == keys


@pytest.mark.parametrize("name", MODELS)
def test_what_is_no_image_is_refused(name: str) -> None:
    _, kind = find(f"autoregressive/{name}", name)
    with pytest.raises(UsageError, match="needs images"):
        kind(build(name, [1, 4, 4]).params, info([2], kind="points"))  # type: ignore[call-arg]


def test_a_point_is_a_1_x_1_convolution() -> None:
    point, conv = Point(3, 5), nn.Conv2d(3, 5, 1)
    conv.load_state_dict(point.state_dict())
    x = torch.randn(2, 3, 4, 4)
    assert torch.equal(point(x), conv(x))
