"""GANs: labels that stay labels, penalties by hand, conditions that reach both networks, the published sizes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from test_models import info, published
from torch import Tensor, nn

from generative.errors import UsageError
from generative.models.adversarial.cgan import CGAN
from generative.models.adversarial.dcgan import DCGAN, labels
from generative.models.model import Model
from generative.nn.adversarial import Downscorer, Upscaler, gradient_penalty, sliced_wasserstein


def trained_weights(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize("noise", [0.0, 0.1, 1.0])
def test_labels_stay_in_0_to_1_whatever_the_noise(noise: float) -> None:
    logits = torch.zeros(10_000)
    real, made = labels(logits, True, noise), labels(logits, False, noise)
    assert 1 - noise <= real.min() <= real.max() <= 1
    assert 0 <= made.min() <= made.max() <= noise


def test_with_labels_inside_0_to_1_the_discriminators_loss_has_a_least_value() -> None:
    """The published signs put labels outside: the loss falls without end as the logits grow, and so do the networks' weights."""
    far = torch.full((1000,), 50.0)
    cross_entropy = nn.functional.binary_cross_entropy_with_logits
    assert cross_entropy(far, labels(far, True, 0.1)) > 0
    assert cross_entropy(far, 2 - labels(far, True, 0.1)) < -1  # 1 + noise, as published


@pytest.mark.parametrize(("slope", "expected"), [(1.0, 0.0), (3.0, 4.0), (0.0, 1.0)])
def test_the_penalty_of_a_critic_with_a_known_slope(slope: float, expected: float) -> None:
    direction = torch.randn(3, 8, 8)
    direction *= slope / direction.norm()
    penalty, norm = gradient_penalty(lambda x: (x * direction).flatten(1).sum(1), torch.randn(5, 3, 8, 8), torch.randn(5, 3, 8, 8))
    assert penalty.item() == pytest.approx(expected, abs=1e-5)
    assert norm.item() == pytest.approx(slope, abs=1e-5)


def test_the_penalty_looks_between_the_images_and_everywhere_between_them() -> None:
    seen: list[Tensor] = []

    def critic(x: Tensor) -> Tensor:
        seen.append(x.detach())
        return x.flatten(1).sum(1)

    gradient_penalty(critic, torch.zeros(4000, 1, 4, 4), torch.ones(4000, 1, 4, 4))
    share = seen[0].flatten(1)
    assert torch.equal(share, share[:, :1].expand_as(share))  # one point a pair
    assert 0 <= share.min() <= share.max() <= 1
    assert share[:, 0].mean().item() == pytest.approx(0.5, abs=0.03)
    assert share[:, 0].std().item() == pytest.approx(12**-0.5, abs=0.02)  # of a uniform distribution


def test_the_penalty_reaches_the_critics_weights_in_float32_under_autocast() -> None:
    critic = Downscorer([1, 16, 16], [4, 8], normalised=False, dropout=0.0)
    inside: list[torch.dtype] = []
    critic.score.register_forward_hook(lambda layer, given, score: inside.append(score.dtype))
    with torch.autocast("cpu", torch.bfloat16):
        penalty, _ = gradient_penalty(critic, torch.randn(4, 1, 16, 16), torch.randn(4, 1, 16, 16))
    assert inside == [torch.float32]
    penalty.backward()
    assert penalty.dtype == torch.float32
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for n, p in critic.named_parameters() if n.endswith("weight"))


def test_sliced_wasserstein_of_a_shift_and_of_a_shuffle() -> None:
    x = torch.randn(500, 1, 8, 8)
    assert sliced_wasserstein(x, x[torch.randperm(500)]).item() == pytest.approx(0, abs=1e-6)
    assert sliced_wasserstein(x, x + 5) > sliced_wasserstein(x, x + 1) > 0.1


@pytest.mark.parametrize("upsampling", ["transposed", "resize"])
def test_a_generator_mirrors_a_critic(upsampling: str) -> None:
    made = Upscaler(7, [3, 32, 32], [4, 8, 16], upsampling, bias=True)(torch.randn(5, 7))  # type: ignore[arg-type]
    assert made.shape == (5, 3, 32, 32)
    assert made.abs().max() <= 1
    assert Downscorer([3, 32, 32], [4, 8, 16], normalised=True, dropout=0.1)(made).shape == (5,)


def test_images_that_do_not_end_at_4_pixels_are_refused() -> None:
    with pytest.raises(UsageError, match="expected as many as halve 32 x 32 pixels down to 4 x 4, got 2, which leave 8 x 8"):
        Downscorer([3, 32, 32], [4, 8], normalised=False, dropout=0.0)


@pytest.mark.parametrize(
    ("name", "shape", "classes", "sizes"),
    [
        ("dcgan", [1, 64, 64], 10, {"discriminator": 2_763_520, "generator": 3_574_656}),
        ("wgan_gp", [3, 64, 64], 10, {"critic": 2_764_737 - 1, "generator": 3_806_083}),
        ("cgan", [3, 64, 64], 2, {"critic": 662_977 - 1, "generator": 728_963}),
    ],
)
def test_the_published_sizes_but_for_a_bias_that_no_loss_sees(name: str, shape: list[int], classes: int, sizes: dict[str, int]) -> None:
    model = published(name, shape, classes=classes)
    assert {part: trained_weights(getattr(model, part)) for part in sizes} == sizes


def small(kind: type[Model], **changes: Any) -> Model:
    model = published({DCGAN: "dcgan", CGAN: "cgan"}[kind], [3, 16, 16], channels=[4, 8], latent_size=6, **changes)
    assert isinstance(model, kind)
    return model


def test_the_label_reaches_the_generator_and_the_critic() -> None:
    model = small(CGAN).eval()
    assert isinstance(model, CGAN)
    torch.manual_seed(0)
    x = model.sample(4, torch.tensor([0, 0, 0, 0]))
    torch.manual_seed(0)
    other = model.sample(4, torch.tensor([1, 1, 1, 1]))
    assert not torch.equal(x, other)
    assert not torch.equal(model.score(x, torch.tensor([0] * 4)), model.score(x, torch.tensor([1] * 4)))


def test_an_order_is_made_under_the_labels_that_it_names() -> None:
    model = small(CGAN).eval()
    asked = model.asked({"x": torch.zeros(3, 3, 16, 16), "y": torch.tensor([2, 0, 1])})
    assert asked["x"].shape == (3, 3, 16, 16)
    assert asked["y"].tolist() == [2, 0, 1]


def test_a_conditional_gan_without_labels_is_refused() -> None:
    model = small(CGAN)
    with pytest.raises(UsageError, match="a conditional GAN needs labels, and none has none"):
        CGAN(model.params, info([3, 16, 16], classes=0))  # type: ignore[arg-type]


def test_a_critics_turn_leaves_the_generator_and_its_statistics_for_the_average() -> None:
    model = small(DCGAN)
    before = [p.clone() for p in model.average.buffers()]  # type: ignore[union-attr]
    model.after_step(0)
    after = list(model.average.buffers())  # type: ignore[union-attr]
    assert any(not torch.equal(a, b) for a, b in zip(before, after, strict=True)) is False  # nothing moved yet
    with torch.no_grad():
        next(iter(model.generator.parameters())).add_(1)  # type: ignore[union-attr]
    model.after_step(5)
    assert any(not torch.equal(a, b) for a, b in zip(before, model.average.buffers(), strict=True))  # type: ignore[union-attr]


def test_the_discriminator_judges_a_batch_alike_whatever_it_was_shown_before() -> None:
    model = small(DCGAN)
    assert isinstance(model, DCGAN)
    images = torch.rand(16, 3, 16, 16) * 2 - 1
    before = model.eval().discriminator(images)
    model.train().discriminator(-images)
    assert torch.equal(before, model.eval().discriminator(images))
