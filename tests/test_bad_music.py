"""Music that cannot be used: skipped by name and with the reason."""

from __future__ import annotations

from pathlib import Path

import pytest
from building import build
from damageable_scores import MIDI, write_midi

from generative.data.music import midi
from generative.data.music.notation import abc
from generative.errors import UsageError


@pytest.mark.parametrize("unit", ["1/0", "1/00", "x", ""])
def test_a_tune_whose_unit_is_no_length_is_refused(unit: str) -> None:
    with pytest.raises(ValueError, match="unit "):
        abc.read(f"X:1\nL:{unit}\nK:G\nGABc\n")


def test_a_note_divided_by_nothing_is_whole() -> None:
    assert [note.length for note in abc.read("X:1\nL:1/8\nK:G\nG/00A/0B/2\n").voices[0]] == [24, 24, 12]


def test_who_is_left_with_too_few_pieces_is_told_what_was_skipped(tmp_path: Path) -> None:
    write_midi(tmp_path)
    for name in "abd":
        (tmp_path / f"raw/midi/{name}.mid").write_bytes(b"MThd, or so")
    with pytest.raises(UsageError, match=r"below the 2 groups of pieces, got 2\n  skipped a\.mid: (.|\n)*skipped d\.mid: "):
        build(midi, MIDI, tmp_path, download=False)
