"""The command that measures: what it starts, and what it says where another library cannot be installed."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks import __main__ as command
from benchmarks.others import installed


@pytest.mark.parametrize(
    ("words", "modules"),
    [
        ([], ["steps start autoencoder vae cnn mlp diffusion", "text", "sampling", "racing"]),
        (["racing", "vae"], ["steps vae", "racing"]),
        (["text"], ["text"]),
    ],
)
def test_what_is_named_is_measured_or_all_of_it(words: list[str], modules: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[str] = []

    def run(arguments: list[str], **_: Any) -> None:
        started.append(" ".join(arguments[2:]))

    monkeypatch.setattr(command.subprocess, "run", run)
    monkeypatch.setattr(sys, "argv", ["benchmarks", *words, "--rounds", "2"])
    command.main()
    assert started == [f"benchmarks.{module} --rounds 2" for module in modules]


def test_what_there_is_not_is_refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["benchmarks", "vea"])
    with pytest.raises(SystemExit):
        command.main()
    assert "expected some of start, autoencoder, vae, cnn, mlp, diffusion, text, sampling, racing; got vea" in capsys.readouterr().err


def test_a_library_is_installed_once_for_its_requirements(tmp_path: Path) -> None:
    requirements, folder, count = tmp_path / "requirements.txt", tmp_path / "place", tmp_path / "count"
    requirements.write_text("keras==1\n")
    program = f"import pathlib; pathlib.Path({str(folder)!r}).mkdir(exist_ok=True); pathlib.Path({str(count)!r}).open('a').write('x')"
    for text, times in (("keras==1\n", 1), ("keras==1\n", 1), ("keras==2\n", 2)):
        requirements.write_text(text)
        assert installed("Keras", folder, requirements, [sys.executable, "-c", program])
        assert count.read_text() == "x" * times


def test_one_that_cannot_be_installed_is_left_out_with_its_reason(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    requirements = tmp_path / "requirements.txt"
    requirements.write_text("keras==1\n")
    assert not installed("Keras", tmp_path, requirements, [sys.executable, "-c", "import sys; sys.exit('no network')"])
    told = capsys.readouterr().out
    assert "Keras could not be installed, the comparison is left out: no network" in told
    assert "by hand: " in told
    assert not (tmp_path / "ready").exists()
