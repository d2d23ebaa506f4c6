"""Arithmetic on the code of a variational autoencoder: directions between classes, orders, morphs."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from test_models import count, info, published
from torch import Tensor

from generative.models.autoencoders.vae_faces import FOLLOW, FaceVAE
from generative.models.exhibit import Sheet


def vae(classes: int = 5, **changes: Any) -> FaceVAE:
    model = published("vae_faces", [3, 16, 16], **{"channels": [4, 8], "latent_size": 6, **changes})
    assert isinstance(model, FaceVAE)
    again = FaceVAE(model.params, info([3, 16, 16], classes))
    again.centres.normal_()
    return again


def faces(n: int, classes: int = 5) -> dict[str, Tensor]:
    return {"x": torch.rand(n, 3, 16, 16) * 2 - 1, "y": torch.arange(n) % classes}


def test_the_published_size() -> None:
    assert count(published("vae_faces", [3, 32, 32])) == 652_560 + 698_755  # the trainable ones of both nets


def test_the_loss_is_the_weighed_error_of_pixels_between_0_and_1_and_the_divergence(monkeypatch: pytest.MonkeyPatch) -> None:
    model, batch = vae(reconstruction_weight=2000.0), faces(8)
    monkeypatch.setattr(model, "posterior", lambda x: (torch.full((len(x), 6), 0.5), torch.zeros(len(x), 6)))
    monkeypatch.setattr(model, "decode", lambda code: batch["x"] + 0.2)  # 0.1 of the range
    loss, logs = model.objectives()[0].loss(batch)
    assert logs["reconstruction"].item() == pytest.approx(2000 * 0.1**2, rel=1e-4)
    assert logs["kl"].item() == pytest.approx(6 * 0.5**2 / 2)
    assert loss.item() == pytest.approx(20 + 0.75, rel=1e-4)


def test_centres_follow_the_mean_codes_in_training_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    model, batch = vae(classes=3), faces(8, classes=2)  # nobody of class 2
    means = batch["y"][:, None] * torch.ones(6) + torch.tensor([0.5, -0.5]).repeat_interleave(4)[:, None]
    monkeypatch.setattr(model, "posterior", lambda x: (means, torch.zeros(len(x), 6)))
    before = model.centres.clone()
    model.eval().evaluate(batch)
    assert torch.equal(model.centres, before)
    model.train().evaluate(batch)
    expected = before.lerp(torch.tensor([0.0, 1.0, 0.0])[:, None].expand(3, 6), FOLLOW)
    assert torch.allclose(model.centres[:2], expected[:2], atol=1e-6)
    assert torch.equal(model.centres[2], before[2])


def test_orders_are_for_every_other_class_and_move_the_code_by_the_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    model, batch = vae(edit=1.5).eval(), faces(20)
    monkeypatch.setattr(model, "decode", lambda code: code)
    with torch.no_grad():
        asked, code = model.asked(batch), model.encode(batch)["x"]
    y = batch["y"]
    assert not (asked["y"] == y).any()
    assert {(a, b) for a, b in zip(y.tolist(), asked["y"].tolist(), strict=True)} == {(a, b) for a in range(5) for b in range(5) if a != b}
    assert torch.allclose(asked["x"] - code, 1.5 * (model.centres[asked["y"]] - model.centres[y]), atol=1e-5)


def test_strips_pass_through_the_faces_themselves() -> None:
    model, batch = vae().eval(), faces(30)
    with torch.no_grad():
        shown = {exhibit.name: exhibit for exhibit in model.exhibits(batch)}
        faces_again = model.decode(model.encode(batch)["x"])
    morphs, arithmetic = shown["morphs"], shown["arithmetic"]
    assert isinstance(morphs, Sheet)
    assert isinstance(arithmetic, Sheet)
    assert torch.allclose(morphs.images[1, 0], faces_again[2], atol=1e-4)
    assert torch.allclose(morphs.images[1, -1], faces_again[3], atol=1e-4)
    assert arithmetic.images.shape[:2] == (5, 9)
    assert torch.allclose(arithmetic.images[:, 4], faces_again[:5], atol=1e-4)
    assert arithmetic.titles[1][0] == "1 -4"


def test_without_classes_there_is_no_arithmetic() -> None:
    model = vae(classes=0).eval()
    with torch.no_grad():
        names = [exhibit.name for exhibit in model.exhibits({"x": faces(30)["x"]})]
    assert "morphs" in names
    assert "arithmetic" not in names
