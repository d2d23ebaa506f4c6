"""Notation: readers that give what stands in the file, tokens that go there and back, files that are refused by name."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from generative.data import store
from generative.data.music import jsb, midi, tunes
from generative.data.music.notation import abc, melodies, musicxml, tokens
from generative.data.music.notation import midi as midi_files
from generative.data.music.notation.corpus import corpus
from generative.data.music.notation.piece import QUARTER, Note, Piece, fifths_of, key_name, skyline
from generative.errors import UsageError

JIG = """X:1
T:Trial
M:6/8
L:1/8
K:G % one sharp
D|"a"GAB {c}c>d=f|f2^c c3-|c3 z(3DEF [Gb]2:|
"""


def test_abc_is_read_with_its_key_accidentals_ties_triplets_and_broken_rhythm() -> None:
    piece = abc.read(JIG)
    eighth = QUARTER // 2
    lengths = [1, 1, 1, 1, 1.5, 0.5, 1, 2, 1, 6, 2 / 3, 2 / 3, 2 / 3, 2]
    assert [note.pitch for note in piece.voices[0]] == [62, 67, 69, 71, 72, 74, 77, 78, 73, 73, 62, 64, 66, 83]
    assert [note.length for note in piece.voices[0]] == [round(length * eighth) for length in lengths]
    assert piece.voices[0][-4].start - piece.voices[0][-5].start == 7 * eighth  # six tied, one of rest
    assert (piece.keys, piece.meters, piece.upbeat) == ([(0, "G:major")], [(0, "6/8")], eighth)


@pytest.mark.parametrize("tune", ["X:1\nK:H\nabc", "X:1\nT:none", "X:1\nK:C\n", "X:1\nM:0/0\nK:C\nabc", "X:1\nM:x\nK:C\nabc"])
def test_an_abc_tune_that_cannot_be_read_says_why(tune: str) -> None:
    with pytest.raises(ValueError, match=r"key|notes|metre"):
        abc.read(tune)


def test_keys_are_named_by_their_signature() -> None:
    assert [key_name(1, "minor"), key_name(-3, "major"), key_name(2, "mixolydian")] == ["E:minor", "Eb:major", "A:mixolydian"]
    assert [fifths_of("E:minor"), fifths_of("Eb:major"), fifths_of("A:mixolydian")] == [1, -3, 2]


def test_the_skyline_is_the_highest_pitch_at_each_moment() -> None:
    high, low = [Note(0, 10, 60), Note(20, 10, 64)], [Note(0, 40, 50), Note(5, 5, 62)]
    assert skyline([high, low]) == [Note(0, 5, 60), Note(5, 5, 62), Note(10, 10, 50), Note(20, 10, 64), Note(30, 10, 50)]
    assert skyline([[Note(0, 10, 60)], [Note(2, 3, 50)]]) == [Note(0, 10, 60)], "a note over moving ones stays one note"


def test_a_melody_becomes_tokens_and_comes_back() -> None:
    piece = abc.read(JIG)
    events = tokens.events_of(piece)
    assert events[:4] == [("START", "0"), ("G:major", "0"), ("6/8", "0"), ("rest", "5/2")], "an upbeat stands at the end of a whole bar"
    vocabulary = tokens.vocabulary_of([events])
    back = tokens.piece_of(tokens.encoded(events, vocabulary), vocabulary, "Trial")
    shift = 5 * QUARTER // 2
    assert back.voices[0] == [note._replace(start=note.start + shift) for note in piece.voices[0]]
    assert (back.keys, back.meters) == (piece.keys, piece.meters)


def test_a_grid_has_a_row_a_sixteenth_and_silence_as_a_pitch() -> None:
    voices = [[Note(QUARTER, QUARTER, 60), Note(2 * QUARTER, 6 * QUARTER, 62)], [Note(0, 8 * QUARTER, 50)]]
    grid = tokens.grid_of(Piece("", ["a", "b"], voices), 2, 16)
    assert grid.shape == (1, 32, 2)
    assert grid[0, :9, 0].tolist() == [83] * 4 + [60] * 4 + [62]
    back = tokens.piece_of(grid[0], tokens.grid_vocabulary(["a", "b"]), "")
    assert back.voices[0][:2] == [Note(QUARTER, QUARTER, 60), Note(2 * QUARTER, QUARTER, 62)], "struck again on each beat"
    assert back.length == 8 * QUARTER


def test_versions_of_a_tune_in_other_keys_belong_together() -> None:
    steps = np.random.default_rng(0).integers(-5, 6, 60).cumsum() + 70

    def tune(pitches: np.ndarray) -> Piece:
        return Piece("", ["tune"], [[Note(12 * i, 12, int(pitch)) for i, pitch in enumerate(pitches)]])

    other = np.random.default_rng(1).integers(-5, 6, 60).cumsum() + 70
    variant = np.concatenate([other[:30] + 2, steps[10:40] + 5])
    groups = tunes.versions([tune(steps), tune(other), tune(steps[:15]), tune(variant)])
    assert groups == ["000000", "000000", "000002", "000000"], "the variant joins both tunes that it is made of"


def test_no_piece_stands_in_two_splits_and_groups_stay_together() -> None:
    groups = [f"suite {i % 6}" for i in range(36)]
    splits = melodies.split_by_group(groups, 1, 2, 3, "")
    assert all(len({s for s, g in zip(splits, groups, strict=True) if g == group}) == 1 for group in set(groups))
    assert [splits.count(split) for split in store.SPLITS] == [18, 6, 12]


# MIDI


def midi_piece() -> Piece:
    voices = [[Note(0, QUARTER, 60), Note(QUARTER, QUARTER // 3, 62)], [Note(0, 2 * QUARTER, 48)]]
    return Piece("two voices", ["a", "b"], voices, [(0, "Eb:major")], [(0, "3/4")])


def test_midi_goes_there_and_back_and_is_the_same_every_time(tmp_path: Path) -> None:
    piece = midi_piece()
    content = midi_files.written(piece, 90, [40, 42])
    assert content == midi_files.written(piece, 90, [40, 42])
    (tmp_path / "two.mid").write_bytes(content)
    back = midi_files.read(tmp_path / "two.mid", [4, 3])
    assert (back.voices, back.keys, back.meters) == (piece.voices, piece.keys, piece.meters)


def folder_of_midi(folder: Path, broken: bool = True) -> None:
    folder.mkdir()
    good = midi_files.written(midi_piece(), 90, [40, 42])
    for number in range(6):
        (folder / f"good{number}.mid").write_bytes(good)
    if broken:
        (folder / "empty.mid").write_bytes(b"")
        (folder / "cut.mid").write_bytes(good[:60])
        (folder / "picture.mid").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(40))
        (folder / "thousand.mid").write_bytes(b"MThd" + struct.pack(">IHHH", 6, 1, 1000, 480) + b"MTrk\0\0\0\4\0\xff\x2f\0" * 1000)
        (folder / "silent.mid").write_bytes(b"MThd" + struct.pack(">IHHH", 6, 0, 1, 480) + b"MTrk\0\0\0\4\0\xff\x2f\0")


def midi_params(path: Path) -> midi.Params:
    return midi.Params(source="music/midi", seed=1, validation=1, test=1, window=3, stride=1, path=str(path), group="", divisions=[4, 3])


def test_unusable_midi_files_are_skipped_with_name_and_reason(tmp_path: Path) -> None:
    folder_of_midi(tmp_path / "mine")
    params = midi_params(tmp_path / "mine")
    (tmp_path / "raw").mkdir()
    (tmp_path / "out").mkdir()
    midi.download(params, "mine", tmp_path / "raw")
    info = midi.preprocess(params, "mine", tmp_path / "raw", tmp_path / "out")
    assert len(json.loads((tmp_path / "raw/manifest.json").read_text())) == 11
    assert info.counts["train"] > 0
    said = {note.split()[1].rstrip(":"): note for note in info.notes}
    assert set(said) == {"empty.mid", "cut.mid", "picture.mid", "thousand.mid", "silent.mid"}
    assert "empty" in said["empty.mid"]
    assert "not a MIDI file" in said["picture.mid"]
    assert "1,000 tracks" in said["thousand.mid"]
    assert "no notes" in said["silent.mid"]


def test_a_folder_without_a_usable_file_fails_and_says_so(tmp_path: Path) -> None:
    (tmp_path / "raw/midi").mkdir(parents=True)
    (tmp_path / "raw/midi/empty.mid").write_bytes(b"")
    with pytest.raises(UsageError, match=r"(?s)no piece could be used.*empty\.mid: empty"):
        midi.preprocess(midi_params(tmp_path), "mine", tmp_path / "raw", tmp_path)


def test_chorales_of_a_json_file_are_read_or_refused(tmp_path: Path) -> None:
    piece = [[60, 55, 52, -1]] * 40
    (tmp_path / "j.json").write_text(json.dumps({"train": [piece], "valid": [piece], "test": [piece]}))
    assert jsb._read(tmp_path / "j.json")["train"][0][0].tolist() == [60, 55, 52, tokens.REST]
    high, two = [[[90, 60, 55, 48]]], [[[60, 55]]]
    for broken in ('{"train": []}', "[1", *(json.dumps({"train": t, "valid": [], "test": []}) for t in (high, two))):
        (tmp_path / "j.json").write_text(broken)
        with pytest.raises(UsageError, match="expected chorales"):
            jsb._read(tmp_path / "j.json")


# The corpus


def test_chorales_are_read_from_musicxml() -> None:
    piece = musicxml.read(musicxml.unpacked((corpus() / "bach/bwv269.mxl").read_bytes()), "bwv269")
    assert piece.names[0].lower().startswith("s")
    assert [voice[0].pitch for voice in piece.voices] == [67, 62, 59, 43]
    assert (piece.keys, piece.meters, piece.upbeat) == ([(0, "G:major")], [(0, "3/4")], QUARTER)


@pytest.mark.slow
def test_every_four_part_chorale_agrees_with_music21_note_for_note() -> None:
    from music21 import converter

    parse: Any = converter.parse
    for file in sorted((corpus() / "bach").glob("*.mxl")):
        mine = musicxml.read(musicxml.unpacked(file.read_bytes()), file.stem)
        if len(mine.voices) != 4:
            continue
        parts = parse(file, forceSource=True).parts
        assert len(parts) == 4
        for part, voice in zip(parts, mine.voices, strict=True):
            sounds = [note for note in part.flatten().notes if not note.duration.isGrace]
            theirs = [(round(n.offset * QUARTER), round(n.quarterLength * QUARTER), p.midi) for n in sounds for p in n.pitches]
            assert sorted(theirs) == [tuple(note) for note in voice], file.name


@pytest.mark.slow
def test_plain_tunes_agree_with_music21_note_for_note() -> None:
    # music21 loses broken rhythm before marks, accidentals within a bar and notes before ::, so such tunes are left to the first test here
    from music21 import converter

    parse: Any = converter.parse
    agreed = 0
    for file in sorted((corpus() / "ryansMammoth").glob("*.abc")):
        text = file.read_text(encoding="utf-8", errors="replace")
        body = text.partition("\nK:")[2].partition("\n")[2]
        if len(abc.tunes(text)) != 1 or any(sign in body for sign in [*'<>^_=![+"{-', "::"]):
            continue
        part = parse(file, format="abc", forceSource=True).parts[0].stripTies()
        theirs = [(round(n.offset * QUARTER), round(n.quarterLength * QUARTER), n.pitch.midi) for n in part.flatten().notes]
        assert theirs == [tuple(note) for note in abc.read(abc.tunes(text)[0]).voices[0]], file.name
        agreed += 1
    assert agreed > 100
