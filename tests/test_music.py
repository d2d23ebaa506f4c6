"""Music: readers that give what stands in the file, tokens that go there and back, models as published, files that repeat."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from generative.data import store
from generative.data.music import jsb, midi, tunes
from generative.data.music.notation import abc, grids, melodies, musicxml, tokens
from generative.data.music.notation import midi as midi_files
from generative.data.music.notation.corpus import corpus
from generative.data.music.notation.piece import QUARTER, Note, Piece, fifths_of, key_name, skyline
from generative.data.store import Info
from generative.errors import UsageError
from generative.metrics import music as measures
from generative.models.music.musegan import MuseGAN, Noise
from generative.models.music.musegan import Params as MuseParams
from generative.models.music.music_transformer import MusicTransformer, Temperatures
from generative.models.music.music_transformer import Params as TransformerParams

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


# The models


def melody_info(window: int = 8) -> Info:
    return info_of([window + 1, 2], {"notes": ["START", "rest", "G:major", "3/4", "C4", "D4", "E4"], "durations": ["0", "1/2", "1"]})


def info_of(shape: list[int], vocabulary: dict[str, list[str]]) -> Info:
    return Info(
        name="made", kind="music", shape=shape, classes=[], attributes=[], values={}, vocabulary=vocabulary,
        counts={"train": 1, "validation": 1, "test": 1}, fingerprint="", notes=[],
    )  # fmt: skip


TRAINING = {
    "model": "", "data": "", "judge": "", "compared": 0, "seed": 1, "steps": 1, "batch_size": 1, "accumulate": 1, "learning_rate": 0.001,
    "schedule": "constant", "clip_norm": 0.0, "precision": "float32", "threads": 1, "log_every": 1, "checkpoint_every": 1,
}  # fmt: skip
PUBLISHED = {"embedding": 128, "blocks": 1, "heads": 5, "head_size": 256, "hidden": 256, "dropout": 0.3}
HEAT = {"note_temperature": 1.0, "duration_temperature": 1.0, "pieces": 1, "longest": 8}


def transformer(**changes: object) -> MusicTransformer:
    torch.manual_seed(0)
    sizes = {"embedding": 8, "blocks": 2, "heads": 2, "head_size": 4, "hidden": 16, "dropout": 0.0, **changes}
    return MusicTransformer(TransformerParams(**TRAINING, **sizes, **HEAT), melody_info()).eval()  # type: ignore[arg-type]


def test_the_transformer_has_the_published_number_of_parameters() -> None:
    notes, durations = [f"C{i}" for i in range(59)], [f"{i}/4" for i in range(24)]
    notes[:2], durations[0] = ["START", "rest"], "0"
    info = info_of([51, 2], {"notes": notes, "durations": durations})
    model = MusicTransformer(TransformerParams(**TRAINING, **PUBLISHED, **HEAT), info)  # type: ignore[arg-type]
    assert sum(p.numel() for p in model.parameters()) == 1_479_379


def test_an_event_depends_on_those_before_it_alone() -> None:
    model = transformer()
    x = model.embed(torch.randint(0, 3, (1, 8, 2))).detach().requires_grad_()
    for stream in (model.next_note, model.next_duration):
        (slope,) = torch.autograd.grad(stream(model.decoder(x))[0, 3].sum(), x)
        reached = slope[0].abs().sum(-1) > 0
        assert reached.tolist() == [True] * 4 + [False] * 4


def test_generation_with_kept_keys_and_values_equals_one_that_reads_all_anew() -> None:
    model = transformer()
    begun = torch.tensor([[[0, 0], [2, 0], [4, 1]]])
    with torch.no_grad():
        made, likely = model.extend(begun, 6, Temperatures(0.7, 1.3))
        for place in range(3, 9):
            fresh = model.next_note(model.decoder(model.embed(made[:, :place]))[:, -1])
            assert torch.allclose((fresh / 0.7).softmax(-1), likely[:, place - 3], atol=1e-6)
        longer, _ = model.extend(begun, 40, Temperatures(1.0, 1.0))
    assert longer.shape == (1, 43, 2)


def test_durations_fit_their_notes() -> None:
    model = transformer()
    with torch.no_grad():
        made = model.sample(40)
    timed = model.timed[made[..., 0]]
    assert ((made[..., 1] > 0) == timed).all()
    assert len(made.unique()) > 3


def test_notes_and_durations_have_temperatures_of_their_own() -> None:
    model, begun = transformer(), torch.tensor([[0, 0], [4, 1]])
    model.next_note.bias.data[4] = 3.0  # C4 is the likeliest
    with torch.no_grad():
        cold = model.sample(200, begun, note_temperature=0.001, duration_temperature=5.0)[:, 2]
        hot = model.sample(200, begun, note_temperature=5.0, duration_temperature=0.001)[:, 2]
    assert (cold[:, 0] == 4).all()
    assert len(cold[:, 1].unique()) == 2
    assert len(hot[:, 0].unique()) == 7
    assert len(hot[model.timed[hot[:, 0]]][:, 1].unique()) == 1


def test_the_transformer_refuses_other_data() -> None:
    with pytest.raises(UsageError, match="expects streams of notes and durations"):
        MusicTransformer(transformer().params, info_of([32, 1], {"soprano": ["C4"]}))  # type: ignore[arg-type]


def musegan(**changes: object) -> MuseGAN:
    torch.manual_seed(0)
    sizes = {"temporal_width": 16, "bar_width": 16, "critic_width": 4, "critic_dense": 8, "bars": 2, **changes}
    fixed = {"latent_size": 32, "critic_steps": 2, "penalty_weight": 10.0, "pieces": 1}
    info = info_of([16 * int(sizes["bars"]), 4], tokens.grid_vocabulary(grids.VOICES))  # type: ignore[arg-type,call-overload]
    return MuseGAN(MuseParams(**TRAINING, **sizes, **fixed), info)  # type: ignore[arg-type]


def test_musegan_has_the_published_number_of_parameters() -> None:
    model = musegan(temporal_width=1024, bar_width=1024, critic_width=128, critic_dense=1024)
    assert sum(p.numel() for p in model.critic.parameters()) == 1_446_401 - 1  # no loss reaches the bias of the score
    averages = sum(b.numel() for b in model.generator.buffers() if b.is_floating_point())  # the published count has them in it
    cancelled = averages // 2  # biases before a batch normalisation
    assert sum(p.numel() for p in model.generator.parameters()) + averages + cancelled == 6_605_604


def test_the_critic_is_the_published_stack_of_convolutions_in_three_dimensions() -> None:
    model = musegan(bars=3)
    critic, x = model.critic, torch.randn(2, 4, 3, 16, 84)
    kernels = [
        (critic.pairs, (4, 2, 1, 1), (1, 1, 1)), (critic.bars, (4, 2, 1, 1), (1, 1, 1)), (critic.notes, (4, 1, 1, 12), (1, 1, 12)),
        (critic.octaves, (4, 1, 1, 7), (1, 1, 7)), (critic.eighths, (4, 1, 2, 1), (1, 2, 1)), (critic.quarters, (4, 1, 2, 1), (1, 2, 1)),
    ]  # fmt: skip
    hidden = x
    for number, (layer, shape, stride) in enumerate(kernels):
        block = layer.weight.unflatten(1, (shape[0], -1) if number == 0 else (-1, shape[0]))
        weight = (block if number else block.transpose(1, 2)).transpose(1, 2).unflatten(2, shape[1:])
        hidden = torch.nn.functional.leaky_relu(torch.nn.functional.conv3d(hidden, weight, layer.bias, stride), 0.3)
    for layer in (critic.halves, critic.whole):
        weight = layer.weight[:, :, None, :, None]
        hidden = torch.nn.functional.leaky_relu(torch.nn.functional.conv3d(hidden, weight, layer.bias, (1, 2, 1), (0, 1, 0)), 0.3)
    score = critic.score(torch.nn.functional.leaky_relu(critic.dense(hidden.flatten(1)), 0.3))[:, 0]
    assert torch.allclose(score, critic(x), atol=1e-5)


def test_other_lengths_than_the_published_two_bars() -> None:
    model = musegan(bars=4)
    x = model.sample(2)
    assert x.shape == (2, 64, 4)
    assert model.critic(model.picture(x)).shape == (2,)


def test_each_noise_reaches_the_voices_that_it_is_meant_for() -> None:
    model = musegan().eval()
    noise = model.noise(3)
    before = model.generator(noise)
    reached = {
        name: [not torch.equal(a, b) for a, b in zip(before.unbind(1), model.generator(model._redrawn(noise, name)).unbind(1), strict=True)]
        for name in Noise._fields
    }
    assert reached == {
        "chords": [True] * 4,
        "style": [True] * 4,
        "melody": [True, False, False, False],
        "groove": [False, False, False, True],
    }


def test_style_and_groove_are_the_same_in_each_bar_and_chords_and_melody_are_not() -> None:
    model = musegan().eval()
    noise = model.noise(2)
    still = noise._replace(chords=torch.zeros_like(noise.chords), melody=torch.zeros_like(noise.melody))
    for network in (model.generator.chords, *model.generator.melody):
        torch.nn.init.zeros_(network.layers[3].weight)  # type: ignore[union-attr,index]
    bars = model.generator(still)
    assert torch.equal(bars[:, :, 0], bars[:, :, 1])
    other = musegan().eval().generator(noise)
    assert not torch.equal(other[:, :, 0], other[:, :, 1])


def test_the_penalty_of_a_critic_with_unit_slope_is_zero() -> None:
    class Slope(torch.nn.Module):
        def __init__(self, length: float) -> None:
            super().__init__()
            self.direction = torch.nn.Parameter(torch.randn(4, 2, 16, 84))
            self.length = length

        def forward(self, x: Tensor) -> Tensor:
            return (x * self.direction * self.length / self.direction.norm()).flatten(1).sum(1)

    model = musegan()
    real, made = torch.randn(2, 3, 4, 2, 16, 84).unbind(0)
    for length, expected in ((1.0, 0.0), (3.0, 4.0)):
        model.critic = Slope(length)  # type: ignore[assignment]
        assert model.penalty(real, made).item() == pytest.approx(expected, abs=1e-4)


def test_a_picture_is_the_tokens_it_was_made_of() -> None:
    model = musegan()
    x = torch.randint(0, 84, (3, 32, 4))
    picture = model.picture(x)
    assert torch.equal(model.tokens(picture), x)
    assert (picture.min(), picture.max(), picture.sum(-1).unique().item()) == (-1, 1, -82)


# The figures


def test_the_longest_copy_is_found_wherever_it_stands() -> None:
    random = np.random.default_rng(0)
    known, made = random.integers(0, 1000, (50, 30)), random.integers(1000, 2000, (20, 30))
    assert measures.longest_copy(made, known) == 0
    made[7, 11:20] = known[33, 2:11]
    assert measures.longest_copy(made, known) == 9
    assert measures.longest_copy(known[:1], known) == 30


def test_the_measures_of_voices_by_hand() -> None:
    x = np.full((1, 32, 2), tokens.REST)
    x[0, :16, 0] = [60] * 8 + [64] * 8
    x[0, :8, 1] = 48
    values = measures.voices(x)(x)
    assert values["empty_bars"] == 0.5
    assert values["used_pitch_classes"] == pytest.approx((2 + 1) / 4)
    assert values["polyphony"] == 0.25
    assert values["tonal_distance"] == pytest.approx(0, abs=1e-9), "octaves of one pitch class"
    assert values["pitch_class_overlap"] == pytest.approx(1)
    x[0, :8, 1] = 49
    assert measures.tonal_distance(x) > 1


def test_melodies_are_compared_by_pitch_classes_intervals_and_durations() -> None:
    info = melody_info()
    up = np.array([[[0, 0], [4, 1], [5, 1], [6, 1]]])
    down = up[:, [0, 3, 2, 1]]
    values = measures.melodies(info, up, up)(down)
    assert (values["pitch_class_overlap"], values["duration_overlap"]) == (1, 1)
    assert values["interval_overlap"] == 0
    assert values["longest_copy"] == 1


# What a person gets


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
