"""What a person gets of a piece: a score, a MIDI file and a recording that repeat, and sound in tune."""

from __future__ import annotations

import numpy as np
import pytest

from generative.data.music.notation import musicxml
from generative.data.music.notation.piece import QUARTER, Note, Piece


def test_the_files_of_a_piece_are_the_same_every_time_and_say_nothing_of_the_day() -> None:
    from generative.stages import scores

    piece = Piece("Trial", ["melody"], [[Note(0, 72, 60), Note(72, 16, 63), Note(120, 200, 66)]], [(0, "Eb:major")], [(0, "3/4")])
    first, again = scores.rendered(piece), scores.rendered(piece)
    assert first == again
    assert first[".png"].startswith(b"\x89PNG")
    assert first[".wav"].startswith(b"RIFF")
    assert len(first[".wav"]) > 22_050 * 2 * piece.length / QUARTER * 60 / 108
    assert b"encoding-date" not in first[".musicxml"]
    written = musicxml.read(first[".musicxml"], "Trial")
    assert [n.pitch for n in written.voices[0]][:2] == [60, 63]
    assert written.length == piece.length


@pytest.mark.parametrize("program", [19, 40, 42])
def test_an_instrument_plays_the_pitch_that_is_asked_for_as_long_as_asked(program: int) -> None:
    from generative.stages import soundfont

    rate = 22_050
    for pitch in (45, 57, 69, 76):
        tone = soundfont.tone(soundfont.general_midi(), program, pitch, 1.0, rate)
        assert rate < len(tone) <= 1.5 * rate
        assert abs(tone[-1]) < 0.001
        spectrum = np.abs(np.fft.rfft(tone[:rate] * np.hanning(rate)))
        frequency = 440 * 2 ** ((pitch - 69) / 12)
        near = np.arange(-2, 3)
        harmonic = [spectrum[round(n * frequency) + near].max() for n in (1, 2, 3)]
        between = [spectrum[round((n + 0.5) * frequency) + near].max() for n in (1, 2, 3)]
        assert sum(harmonic) > 3 * sum(between), (pitch, harmonic, between)


@pytest.mark.parametrize(
    ("pitch", "fifths", "name"), [(66, 2, ("F#", 4)), (66, -5, ("G-", 4)), (59, -7, ("C-", 4)), (60, 7, ("B#", 3)), (6, 0, ("F#", -1))]
)
def test_pitches_are_spelled_by_their_key(pitch: int, fifths: int, name: tuple[str, int]) -> None:
    from generative.stages.scores import spelled

    assert spelled(pitch, fifths) == name
