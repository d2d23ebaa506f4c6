"""How far made music is from held-out music, by what its notes do; each figure beside that of real music (`_floor`).

Melodies: the overlap (1 = the same) of histograms of pitch classes, of intervals and of durations, and the longest run of events that
stands in the training pieces too. Pieces in voices (Dong et al. 2018, section 5): the share of empty bars (a bar of one voice without a
note), pitch classes used in a bar of a voice, the share of steps at which two or more pitches sound, the tonal distance (Harte et al.
2006) between voices, and the overlap of pitch classes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from generative.data.music.notation.tokens import EVENTS, REST, is_pitch, pitch_of
from generative.metrics.subject import Subject

if TYPE_CHECKING:
    from generative.data.store import Info

WIDEST = 24  # semitones of an interval that is told from wider ones
BAR = 16  # steps of the grid
Ints = NDArray[np.int64]
Measure = Callable[[Ints], dict[str, float]]


def compare(subject: Subject) -> dict[str, float]:
    """The figures of `subject.count` samples.

    Each stands beside that of real pieces that nothing was trained on (`_floor`: the validation split) and of the untrained model
    (`_untrained`).
    """
    info, count = subject.dataset.info, subject.count
    train, validation, test = (subject.dataset.split(split).arrays["x"].numpy() for split in ("train", "validation", "test"))
    measure = melodies(info, train, test) if list(info.vocabulary) == EVENTS else voices(test)
    kinds = {"": subject.samples().numpy(), "_floor": validation[:count], "_untrained": subject.samples(subject.untrained()).numpy()}
    return {f"{name}{kind}": value for kind, x in kinds.items() for name, value in measure(x).items()}


def melodies(info: Info, train: Ints, test: Ints) -> Measure:
    """The measure of examples (N, T, 2) of melodies against held-out ones; copies are looked for in the training ones."""
    names = info.vocabulary["notes"]
    pitches = np.array([pitch_of(name) if is_pitch(name) else -1 for name in names])
    held_out = _histograms(test, pitches, len(info.vocabulary["durations"]))

    def measure(x: Ints) -> dict[str, float]:
        mine = _histograms(x, pitches, len(info.vocabulary["durations"]))
        overlaps = {f"{name}_overlap": overlap(mine[name], held_out[name]) for name in mine}
        return {**overlaps, "longest_copy": float(longest_copy(_joined(x), _joined(train)))}

    return measure


def overlap(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """What two histograms have in common once each adds up to 1: 1 where they are the same, 0 where nothing is."""
    return float(np.minimum(a / max(a.sum(), 1), b / max(b.sum(), 1)).sum())


def _histograms(x: Ints, pitches: Ints, durations: int) -> dict[str, NDArray[np.float64]]:
    sounding = pitches[x[..., 0]]
    classes = np.bincount(sounding[sounding >= 0] % 12, minlength=12)
    both = (sounding[:, :-1] >= 0) & (sounding[:, 1:] >= 0)
    steps = np.clip(sounding[:, 1:] - sounding[:, :-1], -WIDEST, WIDEST)[both] + WIDEST
    lengths = np.bincount(x[..., 1][sounding >= 0], minlength=durations)
    return {
        "pitch_class": classes.astype(float),
        "interval": np.bincount(steps, minlength=2 * WIDEST + 1).astype(float),
        "duration": lengths.astype(float),
    }


def _joined(x: Ints) -> Ints:
    """(N, T): a number a pair of note and duration."""
    return x[..., 0] * 10_000 + x[..., 1]


def longest_copy(made: Ints, known: Ints) -> int:
    """The length of the longest run in a row of `made` that stands in a row of `known` too."""
    low, high = 0, made.shape[1]
    while low < high:  # a run that is known has known beginnings, so that halving finds the longest
        middle = (low + high + 1) // 2
        if np.isin(_runs(made, middle), _runs(known, middle)).any():
            low = middle
        else:
            high = middle - 1
    return low


def _runs(x: Ints, length: int) -> NDArray[np.uint64]:
    """A number for each run of so many tokens in each row; other runs have other numbers, but for a chance of 1 in 2^30 or less."""
    factors = np.random.default_rng(0).integers(1, 2**63, size=length, dtype=np.uint64) * np.uint64(2) + np.uint64(1)
    hashed = np.zeros((x.shape[0], x.shape[1] - length + 1), np.uint64)
    mixed = _scattered(x.astype(np.uint64))
    for place in range(length):
        hashed += mixed[:, place : place + hashed.shape[1]] * factors[place]
    return np.unique(hashed)


def _scattered(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Each number to one that looks random (the finaliser of splitmix64), so that sums of products seldom agree by chance."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def voices(test: Ints) -> Measure:
    """The measure of examples (N, T, V) of pieces on a grid against held-out ones."""
    held_out = _classes(test)

    def measure(x: Ints) -> dict[str, float]:
        return {
            "pitch_class_overlap": overlap(_classes(x), held_out),
            "empty_bars": float(np.mean([(bar == REST).all(0).mean() for bar in _bars(x)])),
            "used_pitch_classes": float(np.mean([_used(bar) for bar in _bars(x)])),
            "polyphony": float((_different(x) >= 2).mean()),
            "tonal_distance": tonal_distance(x),
        }

    return measure


def _classes(x: Ints) -> NDArray[np.float64]:
    """(12 V,): pitch classes, each voice for itself."""
    counts = [np.bincount(voice[voice != REST] % 12, minlength=12) for voice in np.moveaxis(x, -1, 0)]
    return np.concatenate([count / max(count.sum(), 1) for count in counts])


def _bars(x: Ints) -> Iterator[Ints]:
    for piece in x:
        yield from piece.reshape(-1, BAR, piece.shape[-1])


def _used(bar: Ints) -> float:
    return float(np.mean([len(set((voice[voice != REST] % 12).tolist())) for voice in bar.T]))


def _different(x: Ints) -> Ints:
    """(N, T): pitches that sound at once."""
    row = np.sort(x, axis=-1)
    new = np.concatenate([np.ones_like(row[..., :1], bool), row[..., 1:] != row[..., :-1]], axis=-1)
    return (new & (row != REST)).sum(-1)


def tonal_distance(x: Ints) -> float:
    """Distance of the tonal centroids (Harte et al. 2006, eq. 1) of two voices in half a bar, a mean over pairs, halves and pieces."""
    centroids = _centroids(x.reshape(len(x), -1, BAR // 2, x.shape[-1]))  # (N, halves, V, 6), NaN where a voice is silent
    distances = [
        np.linalg.norm(centroids[:, :, a] - centroids[:, :, b], axis=-1) for a in range(x.shape[-1]) for b in range(a + 1, x.shape[-1])
    ]
    known = np.concatenate([d[np.isfinite(d)] for d in distances])
    return float(known.mean()) if len(known) else 0.0


def _centroids(x: Ints) -> NDArray[np.float64]:
    angles = np.arange(12) * np.array([[7 / 6], [3 / 2], [2 / 3]]) * np.pi  # circles of fifths, of minor and of major thirds
    radii = np.array([[1.0], [1.0], [0.5]])
    circle = np.stack([radii * np.sin(angles), radii * np.cos(angles)], axis=1).reshape(6, 12)
    sounding = x != REST
    points = circle.T[x % 12] * sounding[..., None]
    count = sounding.sum(2)[..., None].astype(float)
    return points.sum(2) / np.where(count, count, np.nan)
