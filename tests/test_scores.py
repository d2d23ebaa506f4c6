"""What a person gets of a piece: a score, a MIDI file and a recording that repeat, and sound in tune."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from test_music import melody_info

from generative.data.music.notation import midi, musicxml
from generative.data.music.notation.piece import QUARTER, Note, Piece
from generative.errors import UsageError
from generative.stages.scores import begun


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


def test_a_midi_file_to_go_on_from_becomes_events_that_the_data_set_knows(tmp_path: Path) -> None:
    path, notes = tmp_path / "begun.mid", [Note(0, QUARTER, 60), Note(QUARTER, QUARTER // 3, 64), Note(2 * QUARTER, 2 * QUARTER, 62)]
    path.write_bytes(midi.written(Piece("", ["a"], [notes], [(0, "A:major")], [(0, "3/4")]), 90, [40]))
    info = melody_info()
    names, lengths = info.vocabulary["notes"], info.vocabulary["durations"]
    events = [(names[note], lengths[length]) for note, length in begun(path, info).tolist()]
    assert events == [("START", "0"), ("3/4", "0"), ("C4", "1"), ("E4", "1/2"), ("rest", "1/2"), ("D4", "1")], "no A:major, no thirds"
    path.write_bytes(midi.written(Piece("", ["a"], [[Note(0, QUARTER, 61)]], [(0, "G:major")], [(0, "3/4")]), 90, [40]))
    with pytest.raises(UsageError, match=r"--continue: .*begun.mid: made has no C#4"):
        begun(path, info)
    path.write_bytes(b"no MIDI")
    with pytest.raises(UsageError, match=r"--continue: .*begun.mid: not a MIDI file"):
        begun(path, info)
    with pytest.raises(UsageError, match=r"--continue: made has no melodies"):
        begun(path, info.model_copy(update={"vocabulary": {"soprano": ["C4"]}}))
