"""Compares a model's images with held-out ones in the features of a judge, beside real images and the untrained model."""

from __future__ import annotations

import torch
from torch import Tensor

from generative.metrics.fid import Judge
from generative.metrics.subject import PART, Subject
from generative.models.model import Model

TRAINING = 10_000  # training images that features are standardised by, and that copies are looked for among


def compare(subject: Subject) -> dict[str, float]:
    """FID, KID, precision, recall, density, coverage and the nearest-neighbour ratio of `subject.count` samples.

    Each stands beside the same figure of real images that nothing was trained on (`_floor`: the validation split) and of the untrained
    model (`_untrained`). Images made to
    order are read by the judge: `asked_accuracy`, beside its reading of real test images (`asked_floor`).
    """
    if subject.judge is None:
        return {}
    judge, count, model = subject.judge, subject.count, subject.model
    figures: dict[str, float] = {}
    if model.can("sample"):
        train = subject.dataset.split("train")[:TRAINING]["x"]
        floor, test = (subject.dataset.split(split)[:count]["x"] for split in ("validation", "test"))
        reference = Judge(lambda x: judge.features(subject.place.take({"x": x})), train, test)
        figures = reference.compare(subject.samples())
        figures |= {f"{key}_floor": value for key, value in reference.compare(floor).items()}
        figures |= {f"{key}_untrained": value for key, value in reference.compare(subject.samples(subject.untrained())).items()}
    if model.can("asked"):
        figures |= _read(subject, judge, count)
    return figures


def _read(subject: Subject, judge: Model, count: int) -> dict[str, float]:
    right: dict[str, list[Tensor]] = {"asked_accuracy": [], "asked_floor": []}
    test = subject.dataset.split("test")
    for start in range(0, count, PART):
        batch = subject.place.take(test[slice(start, min(start + PART, count))])
        asked = subject.model.asked(batch)
        for name, made in (("asked_accuracy", asked), ("asked_floor", batch)):
            right[name].append(judge(subject.place.take({"x": made["x"]})["x"]).argmax(-1) == made["y"])
    return {name: torch.cat(parts).double().mean().item() for name, parts in right.items()}
