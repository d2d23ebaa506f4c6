"""What the papers of the diffusion model state: schedules, posterior, samplers, and what the network is told."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from test_models import count, published
from torch import Tensor, nn

from generative.errors import UsageError
from generative.models.diffusion.diffusion import Diffusion, montage
from generative.models.model import Model
from generative.nn.embedding import Sinusoidal
from generative.nn.normal import noise_like
from generative.nn.schedule import SCHEDULES, Schedule, back, rates, spherical
from generative.nn.standardise import Standardise
from generative.nn.unet import Residual, Told, UNet

TIMES = torch.linspace(0, 1, 1001, dtype=torch.float64)


def small(**changes: Any) -> Diffusion:
    model = published("diffusion", [3, 8, 8], **{"widths": [4, 8], "depth": 1, "embedding_size": 4, **changes})
    assert isinstance(model, Diffusion)
    return model.eval()


class Knowing(nn.Module):
    """A denoiser that knows the image under the noise, or how images are spread about 0."""

    def __init__(self, image: Tensor | None = None, deviation: float = 0.0) -> None:
        super().__init__()
        self.image, self.deviation = image, deviation

    def forward(self, x: Tensor, variance: Tensor) -> Tensor:
        noise = variance.view(-1, 1, 1, 1)
        if self.image is not None:
            return (x - (1 - noise).sqrt() * self.image) / noise.sqrt()
        return noise.sqrt() * x / ((1 - noise) * self.deviation**2 + noise)


def test_the_book_scale_has_the_published_number_of_parameters() -> None:
    model = published("diffusion", [3, 64, 64])
    assert isinstance(model, Diffusion)
    assert count(model.denoiser) == 1_950_627


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_a_schedule_preserves_variance_and_loses_signal(schedule: Schedule) -> None:
    signal, noise = rates(schedule, TIMES)
    assert torch.allclose(signal.square() + noise.square(), torch.ones_like(TIMES))
    assert (signal.diff() < 0).all()
    assert (noise.diff() > 0).all()


def test_the_schedules_begin_and_end_as_published() -> None:
    ends = torch.tensor([0.0, 1.0], dtype=torch.float64)
    assert rates("offset_cosine", ends)[0].tolist() == pytest.approx([0.95, 0.02])
    assert rates("cosine", ends)[0].tolist() == pytest.approx([1.0, 0.01])
    assert rates("cosine", torch.tensor(0.5, dtype=torch.float64))[0].item() == pytest.approx(math.cos(math.pi / 4), abs=1e-2)


def test_the_linear_schedule_follows_the_product_over_a_thousand_steps() -> None:
    kept = (1 - torch.linspace(0.0001, 0.02, 1000, dtype=torch.float64)).cumprod(0)
    signal, _ = rates("linear", TIMES[1:])
    assert torch.allclose(signal.log(), kept.log() / 2, rtol=0.02, atol=1e-4)


def test_a_step_of_ddpm_draws_from_the_posterior_in_closed_form() -> None:
    random = torch.Generator().manual_seed(0)
    image, noise = (torch.randn(64, dtype=torch.float64, generator=random) for _ in range(2))
    time = torch.tensor([0.6, 0.5], dtype=torch.float64)
    now, then = ((signal, rate) for signal, rate in zip(*rates("linear", time), strict=True))
    x = now[0] * image + now[1] * noise
    torch.manual_seed(1)
    drawn = back(image, noise, now, then, freshness=1.0)
    torch.manual_seed(1)
    alpha = (now[0] / then[0]) ** 2  # Ho et al. 2020, eq. 7, with then[0]^2 for the product up to the step before
    beta = 1 - alpha
    mean = then[0] * beta / now[1] ** 2 * image + alpha.sqrt() * then[1] ** 2 / now[1] ** 2 * x
    expected = mean + (then[1] ** 2 / now[1] ** 2 * beta).sqrt() * torch.randn_like(image)
    assert torch.allclose(drawn, expected)


@pytest.mark.parametrize("sampler", ["ddim", "ddpm"])
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_a_perfect_denoiser_recovers_the_image(schedule: Schedule, sampler: str) -> None:
    model, image = small(noise_schedule=schedule), torch.rand(2, 3, 8, 8) * 2 - 1
    model.average = Knowing(image)  # type: ignore[assignment]
    for steps in (1, 7, 40):
        assert torch.allclose(model.generate(model.noise(2), steps, sampler), image, atol=2e-3)


@pytest.mark.parametrize("sampler", ["ddim", "ddpm"])
@pytest.mark.parametrize("schedule", ["linear", "cosine"])
def test_both_samplers_give_normal_data_its_spread(schedule: Schedule, sampler: str) -> None:
    torch.manual_seed(0)
    model = small(noise_schedule=schedule)
    model.average = Knowing(deviation=0.2)  # type: ignore[assignment]
    images = model.generate(model.noise(200), 500, sampler)
    assert images.std().item() == pytest.approx(0.2, rel=0.05)
    assert images.mean().item() == pytest.approx(0, abs=0.01)


def test_ddim_is_a_function_of_its_noise_alone() -> None:
    model = small()
    nn.init.normal_(model.average.module.get_buffer("leave.weight"))
    noise = model.noise(3)
    with torch.no_grad():
        first, second = (model.generate(noise, 6, "ddim") for _ in range(2))
        third, fourth = (model.generate(noise, 6, "ddpm") for _ in range(2))
    assert torch.equal(first, second)
    assert not torch.equal(third, fourth)


def test_a_denoiser_that_knows_the_noise_has_no_error() -> None:
    model, image = small(), torch.rand(1, 3, 8, 8) * 2 - 1
    model.average = Knowing(image)  # type: ignore[assignment]
    errors = model.evaluate({"x": image.expand(16, -1, -1, -1)})
    assert errors["noise_mae"].item() == pytest.approx(0, abs=1e-5)
    assert errors["image_mae"].item() == pytest.approx(0, abs=1e-4)


def test_what_the_noise_is_wrong_by_the_image_is_wrong_by_too() -> None:
    model, seen = small(), []
    model.average = Knowing(torch.zeros(1, 3, 8, 8))  # type: ignore[assignment]
    model.average.register_forward_hook(lambda module, inputs, output: seen.append(inputs[1]) or output + 0.01)
    errors = model.evaluate({"x": torch.zeros(16, 3, 8, 8)})
    assert errors["noise_mae"].item() == pytest.approx(0.01, rel=1e-3)
    assert errors["image_mae"].item() == pytest.approx(0.01 * (seen[0] / (1 - seen[0])).sqrt().mean().item(), rel=1e-3)


def test_the_times_of_a_batch_are_spread_evenly() -> None:
    model, seen = small(noise_schedule="cosine"), []
    model.denoiser.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[1]))
    [objective] = model.objectives()
    objective.loss({"x": torch.zeros(10, 3, 8, 8)})
    times = seen[0].sqrt().asin().div(math.acos(0.01)).sort().values
    assert times.diff().tolist() == pytest.approx([0.1] * 9, abs=1e-2)


def test_figures_and_samples_are_those_of_the_averaged_weights() -> None:
    model, noise = small(average_decay=0.9), torch.randn(2, 3, 8, 8)

    def made(model: Model) -> Tensor:
        assert isinstance(model, Diffusion)
        with torch.no_grad():
            return model.generate(noise, 3, "ddim")

    before = made(model)
    nn.init.normal_(model.denoiser.leave.weight)
    assert torch.equal(made(model), before)
    model.after_step(1000)
    assert not torch.equal(made(model), before)
    moved = model.average.module.get_buffer("leave.weight")
    assert torch.allclose(moved, 0.1 * model.denoiser.leave.weight, atol=1e-4)


def test_between_two_noises_every_point_is_one() -> None:
    torch.manual_seed(0)
    a, b = torch.randn(100_000), torch.randn(100_000)
    points = spherical(a, b, torch.linspace(0, 1, 5))
    assert torch.allclose(points[0], a)
    assert torch.allclose(points[-1], b, atol=1e-6)
    assert points.std(dim=1).tolist() == pytest.approx([1.0] * 5, rel=0.01)


def test_the_embedding_holds_sines_then_cosines_from_one_period_to_a_thousand() -> None:
    embedded = Sinusoidal(6, 1000.0)(torch.tensor([0.3]))
    angles = [2 * math.pi * frequency * 0.3 for frequency in (1, math.sqrt(1000), 1000)]
    assert embedded[0].tolist() == pytest.approx([*map(math.sin, angles), *map(math.cos, angles)], abs=1e-3)


def test_the_network_tells_noise_levels_apart_and_says_nearly_nothing_at_first() -> None:
    torch.manual_seed(0)
    network, x = UNet([1, 8, 8], [4, 6], 2, 4).eval(), torch.randn(1, 1, 8, 8)
    assert network(x, torch.tensor([0.2])).abs().max() < 1e-3
    nn.init.ones_(network.leave.weight)
    assert not torch.allclose(network(x, torch.tensor([0.2])), network(x, torch.tensor([0.7])))


def test_a_vector_told_to_a_block_is_as_channels_that_are_the_same_in_every_place() -> None:
    torch.manual_seed(0)
    told, plain = Told(5, 4, 6).double(), Residual(9, 6).double()
    weights = {name: value for name, value in told.state_dict().items() if "norm" not in name}
    plain.load_state_dict(weights, strict=False)
    image, vector = torch.randn(3, 5, 8, 7).double().requires_grad_(), torch.randn(3, 4).double().requires_grad_()
    outputs = told((image, vector)), plain(torch.cat([image, vector[:, :, None, None].expand(-1, -1, 8, 7)], 1))
    assert torch.allclose(*outputs)
    downstream = torch.randn_like(outputs[0])
    of_told, of_plain = ([image, vector, *(p for _, p in sorted(block.named_parameters()))] for block in (told, plain))
    gradients = torch.autograd.grad(outputs[0], of_told, downstream), torch.autograd.grad(outputs[1], of_plain, downstream)
    for mine, theirs in zip(*gradients, strict=True):
        assert torch.allclose(mine, theirs)


def test_noise_has_the_layout_of_what_it_is_for() -> None:
    x = torch.empty(64, 3, 16, 16, memory_format=torch.channels_last)
    torch.manual_seed(0)
    noise = noise_like(x)
    torch.manual_seed(0)
    assert torch.equal(noise.permute(0, 2, 3, 1), torch.randn(64, 16, 16, 3))
    assert noise.is_contiguous(memory_format=torch.channels_last)
    assert noise_like(x.contiguous()).is_contiguous()


def test_what_the_network_cannot_halve_and_the_samplers_do_not_know_is_refused() -> None:
    with pytest.raises(UsageError, match=r"widths: 4 of them halve 3 times, but 28 x 28 pixels do not divide by 8"):
        UNet([1, 28, 28], [4, 4, 4, 4], 1, 4)
    with pytest.raises(UsageError, match=r"widths: a U-Net expects images"):
        UNet([2], [4, 4], 1, 4)
    with pytest.raises(UsageError, match="steps: expected at least 1, got 0"):
        small().sample(1, steps=0)
    with pytest.raises(UsageError, match="sampler: expected one of ddim, ddpm, got euler"):
        small().sample(1, sampler="euler")


def test_images_are_standardised_by_what_training_has_seen() -> None:
    model, standard = small(), Standardise(3)
    batches = [torch.rand(16, 3, 8, 8) * 0.5 + shift for shift in (0.0, -0.5, 0.25)]
    [objective] = model.objectives()
    for batch in batches:
        standard.observe(batch)
        objective.loss({"x": batch})
    seen = torch.cat(batches)
    assert standard(seen).mean((0, 2, 3)).tolist() == pytest.approx([0.0] * 3, abs=1e-5)
    assert standard(seen).std((0, 2, 3)).tolist() == pytest.approx([1.0] * 3, rel=1e-3)
    assert torch.allclose(standard.undo(standard(seen)), seen, atol=1e-6)
    assert torch.equal(model.standard(seen), standard(seen))


def test_a_frame_shows_the_images_side_by_side() -> None:
    images = torch.arange(4.0).view(2, 2, 1, 1, 1).expand(2, 2, 3, 5, 6)
    frame = montage(images)
    assert frame.shape == (3, 10, 12)
    assert [frame[0, y, x].item() for y in (0, 9) for x in (0, 11)] == [0, 1, 2, 3]


def test_samples_are_made_with_the_steps_and_the_sampler_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    model, seen = small(), []
    walk = model.walk
    monkeypatch.setattr(model, "walk", lambda noise, steps, sampler: seen.append((steps, sampler)) or walk(noise, steps, sampler))
    assert model.sample(2, steps=3, sampler="ddpm").shape == (2, 3, 8, 8)
    assert seen == [(3, "ddpm")]
    assert len(list(walk(model.noise(1)))) == model.params.sampling_steps


def test_image_and_noise_add_up_to_what_is_there_also_where_the_image_is_clipped() -> None:
    model, x = small(), 4 * torch.randn(2, 3, 8, 8)
    now = model.rates(torch.tensor([0.4]))
    image, noise = model.clean(x, now)
    assert image.abs().max() == 1
    assert torch.allclose(now[0] * image + now[1] * noise, x, atol=1e-5)
