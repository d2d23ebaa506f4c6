"""World models: the mixture density, what V and M compute, and the data that pass from one to the other."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.distributions import Categorical, MixtureSameFamily, Normal
from torch.nn.functional import conv_transpose2d

from generative.data.store import Info, open_dataset
from generative.errors import UsageError
from generative.models.world import memory, vision
from generative.nn.convolution import FromPoint
from generative.nn.mixture import Mixture
from generative.stages.viewer import viewer
from generative.training import checkpoint

TRAINING = {
    "against": "x", "judge": "x", "compared": 0, "seed": 1, "steps": 1, "batch_size": 4, "accumulate": 1, "learning_rate": 0.001,
    "schedule": "constant", "clip_norm": 0.0, "precision": "float32", "threads": 1, "log_every": 1, "checkpoint_every": 1,
}  # fmt: skip
LENGTH, CODE, ACTION = 9, 4, 2


def info(shape: list[int], kind: Any) -> Info:
    counts = {"train": 8, "validation": 4, "test": 4}
    return Info(
        name="x", kind=kind, shape=shape, classes=[], attributes=[], values={}, vocabulary={}, counts=counts, fingerprint="", notes=[]
    )


def make_vision(channels: list[int], latent_size: int, free_nats: float) -> vision.Vision:
    torch.manual_seed(0)
    own = {"channels": channels, "latent_size": latent_size, "reconstruction_weight": 3.0, "free_nats": free_nats}
    return vision.Vision(vision.Params(model="world/vision", data="x", **TRAINING, **own), info([3, 64, 64], "images"))


def make_memory(**changes: Any) -> memory.Memory:
    torch.manual_seed(0)
    own = {"hidden_size": 7, "components": 3, "action_size": ACTION, "window": LENGTH, "reward_weight": 1.0, "done_weight": 1.0,
           "temperature": 1.0}  # fmt: skip
    return memory.Memory(memory.Params(model="world/memory", data="x", **TRAINING, **(own | changes)), info([LENGTH, CODE], "codes"))


def episodes(n: int = 3) -> dict[str, Tensor]:
    torch.manual_seed(1)
    return {
        "x": torch.randn(n, LENGTH, CODE),
        "log_variance": torch.full((n, LENGTH, CODE), -80.0),
        "action": torch.randn(n, LENGTH, ACTION),
        "reward": torch.randn(n, LENGTH),
        "done": torch.zeros(n, LENGTH),
        "mask": torch.ones(n, LENGTH, dtype=torch.bool),
    }


def some_mixture() -> Mixture:
    torch.manual_seed(2)
    return Mixture.of(torch.randn(5, CODE * 3 * 3), 3)


def test_a_mixtures_density_is_that_of_torch() -> None:
    mixture, x = some_mixture(), torch.randn(5, CODE)
    reference = MixtureSameFamily(Categorical(logits=mixture.log_weights.mT), Normal(mixture.means.mT, mixture.log_scales.exp().mT))
    assert torch.allclose(mixture.log_density(x), reference.log_prob(x), atol=1e-6)


def test_the_scales_of_a_mixture_stay_within_bounds() -> None:
    mixture = Mixture.of(torch.full((1, 3), -100.0), 1)
    assert mixture.log_density(torch.full((1, 1), -100.0)).item() == pytest.approx(5 - 0.5 * math.log(2 * math.pi))


def test_what_is_drawn_from_a_mixture_has_its_moments_and_heat_widens_it() -> None:
    torch.manual_seed(3)
    n, numbers = 200_000, 2
    weights = torch.tensor([[0.2, 0.5], [0.2, 0.1], [0.6, 0.4]])  # (K, Z), as the next two
    means, scales = torch.tensor([[-3.0, 0.0], [1.0, 2.0], [4.0, -1.0]]), torch.tensor([[0.5, 1.0], [1.5, 0.3], [0.7, 0.2]])
    mixture = Mixture(*(part.expand(n, *part.shape) for part in (weights.log(), means, scales.log())))

    def drawn(temperature: float) -> Tensor:
        return mixture.drawn(temperature, torch.rand(n, numbers), torch.randn(n, numbers))

    mean = (weights * means).sum(0)
    variance = (weights * (scales.square() + means.square())).sum(0) - mean.square()
    assert torch.allclose(drawn(1.0).mean(0), mean, atol=0.03)
    assert torch.allclose(drawn(1.0).var(0), variance, rtol=0.02)
    likeliest = weights.argmax(0), torch.arange(numbers)
    assert torch.allclose(drawn(0.01).mean(0), means[likeliest], atol=0.01)
    assert torch.allclose(drawn(0.01).std(0), scales[likeliest] / 10, rtol=0.02)
    assert torch.allclose(drawn(100.0).var(0), 100 * scales.square().mean(0), rtol=0.1)


def test_vision_at_full_size_is_the_papers_network() -> None:
    model = make_vision([32, 64, 128, 256], 32, 0.5)
    assert sum(p.numel() for p in model.parameters()) == 4_348_547
    assert model.decode(torch.zeros(2, 32)).shape == (2, 3, 64, 64)


def test_from_point_a_transposed_convolution_is_a_matrix_product() -> None:
    torch.manual_seed(4)
    layer, x = FromPoint(3, 4, 5), torch.randn(2, 3)
    assert torch.allclose(layer(x), conv_transpose2d(x[..., None, None], layer.weight, layer.bias), atol=1e-6)


def test_the_divergence_costs_nothing_below_the_free_nats() -> None:
    model, x = make_vision([2, 2, 2, 2], 4, 1.0), torch.zeros(2, 3, 64, 64)
    torch.manual_seed(0)
    loss, terms = model._loss({"x": x})
    assert terms["kl"] < 1
    assert loss.item() == pytest.approx(3 * terms["reconstruction"].item() + 4)
    mean, log_variance = model.posterior(x)
    torch.manual_seed(0)
    z = mean + (log_variance / 2).exp() * torch.randn(2, 4)
    unit = (model.decode(z) + 1) / 2
    assert terms["reconstruction"].item() == pytest.approx((unit - 0.5).square().sum().item() / 2, rel=1e-5)


def test_vision_refuses_frames_that_its_kernels_do_not_fit() -> None:
    with pytest.raises(UsageError, match=r"expected frames of shape \[3, 64, 64\], got examples of shape \[1, 32, 32\]"):
        vision.Vision(make_vision([2, 2, 2, 2], 2, 0.0).params, info([1, 32, 32], "images"))


def test_memory_step_by_step_is_memory_over_the_whole_episode() -> None:
    model, batch = make_memory(), episodes()
    state, seen = model.start(3), []
    for t in range(LENGTH):
        seen.append(torch.cat([batch["x"][:, t], state[0]], 1))
        state = model.remember(batch["x"][:, t], batch["action"][:, t], state)
    code = model.encode(batch)["x"]
    assert torch.allclose(code, torch.stack(seen, 1), atol=1e-6)
    assert torch.equal(model.decode(code), batch["x"])


def test_memory_foresees_the_next_frame_and_knows_nothing_later() -> None:
    model, batch = make_memory(), episodes(1)
    x, action = batch["x"].requires_grad_(), batch["action"].requires_grad_()
    hidden, _ = model.lstm(torch.cat([x, action], -1))
    model.predict(hidden[:, 4]).means.sum().backward()
    for values in (x, action):
        assert values.grad is not None
        touched = values.grad[0].abs().sum(-1) > 0
        assert touched.tolist() == [t <= 4 for t in range(LENGTH)]
    at = {key: value.detach() for key, value in batch.items()}
    hidden, _ = model.lstm(torch.cat([at["x"], at["action"]], -1))
    by_hand = -torch.stack([model.predict(hidden[:, t]).code.log_density(at["x"][:, t + 1]).mean() for t in range(LENGTH - 1)]).mean()
    assert model._terms(at)["nll"].item() == pytest.approx(by_hand.item(), abs=1e-5)


def test_what_follows_the_end_of_an_episode_teaches_nothing() -> None:
    model, batch = make_memory(), episodes()
    batch["mask"][:, 5:] = False
    batch["done"][:, 4] = 1
    expected = model._terms(batch)
    for key in ("x", "action", "reward"):
        batch[key][:, 5:] = 7.0
    assert model._terms(batch) == expected
    batch["done"][:, 4] = 0
    assert model._terms(batch)["done_error"] != expected["done_error"]


def test_dreams_begin_where_episodes_of_the_training_data_did() -> None:
    model, batch = make_memory(), episodes(5)
    model.train()
    model._loss(batch)
    model.eval()
    with torch.no_grad():
        first = model.sample(40)[:, 0]
    among = (first[:, None] == torch.cat([batch["x"][:, 0], torch.zeros(1, CODE)])).all(-1)
    assert among.any(1).all()
    assert among.any(0)[:5].any()


def test_a_colder_dream_wanders_less() -> None:
    model = make_memory()
    with torch.no_grad():
        step = [model.sample(200, temperature=t).diff(dim=1).square().mean().item() for t in (0.1, 1.0, 3.0)]
    assert step[0] < step[1] < step[2]


def test_a_window_longer_than_an_episode_is_refused() -> None:
    with pytest.raises(UsageError, match=f"window: expected at most the {LENGTH} frames of an episode, got {LENGTH + 1}"):
        make_memory(window=LENGTH + 1)


@pytest.mark.xdist_group("built")
def test_codes_are_episodes_and_carry_the_models_that_made_them(in_built: Path) -> None:
    frames, latents, memories = (open_dataset(f"data/processed/{name}") for name in ("car_rollouts", "car_latents", "car_memory"))
    count, length = frames.info.counts["test"], frames.info.sequence
    v = checkpoint.load("data/models/world_vae")
    size = v.params.latent_size
    assert latents.info.shape == [length, size]
    assert latents.info.counts["test"] == count // length
    hidden = checkpoint.load("data/models/world_rnn").params.hidden_size
    assert memories.info.shape == [length, size + hidden]
    test = latents.split("test")
    with torch.no_grad():
        means = v.posterior(frames.split("test")[:length]["x"])[0]
    assert torch.allclose(test[0:1]["x"][0], means, atol=1e-5)
    assert torch.equal(test.arrays["action"].flatten(0, 1), frames.split("test").arrays["action"])
    with torch.no_grad():
        seen = viewer(memories, torch.device("cpu"))(memories.split("test")[0:1]["x"][0])
        assert torch.allclose(seen, v.decode(test[0:1]["x"][0]), atol=1e-5)
