"""Two records of builds are compared by hashes and figures, and two builds from nothing come out the same."""

from __future__ import annotations

import hashlib
import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import write_catalogue
from workspace import Workspace, commit, make

from generative import compare

FIGURES = {"figure": "loss", "loss": 180.0, "fid": 64.0, "kid_floor": -0.003, "judge": "cnn 0123"}
PATH = "data/metrics/vae/figures.json"


def entry(path: str, content: str) -> dict[str, Any]:
    return {"path": path, "hash": "md5", "md5": hashlib.md5(content.encode()).hexdigest(), "size": len(content)}


def build(folder: Path, figures: dict[str, Any] = FIGURES, weights: str = "w", code: str = "c", written: str = PATH, **params: Any) -> Path:
    """A made-up dvc.lock of one model, with its figures beside it; `written` is where these lie."""
    text = json.dumps(figures)
    model = entry("data/models/vae", weights)
    stages = {
        "train@vae": {
            "cmd": "train vae",
            "deps": [entry("src/loop.py", code)],
            "params": {"params.yaml": {"models.vae": {"steps": 9} | params}},
            "outs": [model],
        },
        "evaluate@vae": {"cmd": "evaluate vae", "deps": [entry("data/models/vae/weights", weights), model], "outs": [entry(PATH, text)]},
    }
    (folder / written).parent.mkdir(parents=True)
    (folder / written).write_text(text)
    write_lock(folder, {"schema": "2.0", "stages": stages})
    return folder / "dvc.lock"


def write_lock(folder: Path, content: Any) -> None:
    write_catalogue(folder, content)
    (folder / "params.yaml").rename(folder / "dvc.lock")


def change(**figures: Any) -> dict[str, Any]:
    return FIGURES | figures


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Runs the command line; its exit code, and what it prints where."""

    def command(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["compare", *map(str, arguments)])
        code = compare.main()
        output, errors = capsys.readouterr()
        return code, output, errors

    return command


def row(output: str, *cells: str) -> list[str]:
    """The cells of the one row of a table that begins with these."""
    rows = [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in output.splitlines() if line.startswith("|")]
    (found,) = [cells_of for cells_of in rows if cells_of[: len(cells)] == list(cells)]
    return found


def test_equal_builds_are_identical(tmp_path: Path, run: Any) -> None:
    locks = build(tmp_path / "a"), build(tmp_path / "b")
    code, output, _ = run(*locks, "--tolerance", 0)
    assert code == 0
    assert output.endswith("\nIdentical: all 2 outputs of 2 stages.\n")
    assert row(output, "train") == ["train", "1", "1"]
    assert "data/models/vae" not in output
    assert row(run(*locks, "--all")[1], "vae", "fid")[2:4] == ["64.0", "64.0"]


def test_figures_within_tolerance_are_told_from_those_beyond(tmp_path: Path, run: Any) -> None:
    other = change(loss=181.0, fid=80.0, judge="cnn 4567")
    code, output, _ = run(build(tmp_path / "a"), build(tmp_path / "b", other, weights="other"))
    assert code == 1
    assert row(output, "vae", "loss")[2:] == ["180.0", "181.0", "0.55%", "within"]
    assert row(output, "vae", "fid")[2:] == ["64.0", "80.0", "20.00%", "beyond"]
    assert row(output, "vae", "judge")[-1] == "within"
    assert "kid_floor" not in output
    assert output.endswith("\nDifferent: beyond tolerance: vae fid.\n")


def test_within_tolerance_is_a_success_unless_it_is_zero(tmp_path: Path, run: Any) -> None:
    locks = build(tmp_path / "a"), build(tmp_path / "b", change(loss=181.0), weights="other")
    code, output, _ = run(*locks)
    assert code == 0
    assert output.endswith("\nWithin tolerance: 2 of 2 outputs differ, but the 5 figures by 0.55% at most, of 5.00% allowed.\n")
    assert run(*locks, "--tolerance", 0.005)[0] == 1
    code, output, _ = run(*locks, "--tolerance", 0)
    assert (code, output.splitlines()[-1]) == (1, "Different: 2 of 2 outputs differ.")


def test_figures_near_zero_are_not_beyond_for_being_small(tmp_path: Path, run: Any) -> None:
    assert run(build(tmp_path / "a"), build(tmp_path / "b", change(kid_floor=0.001)))[0] == 0
    assert run(build(tmp_path / "c"), build(tmp_path / "d", change(kid_floor=0.003)))[0] == 1


@pytest.mark.parametrize(
    "other",
    [
        change(loss=float("nan")),
        change(loss=float("inf")),
        change(loss=None),
        change(loss=True),
        change(figure="fid"),
        change(judge="mlp 0123"),
        change(precision=0.5),
        {key: value for key, value in FIGURES.items() if key != "fid"},
    ],
)
def test_what_cannot_be_compared_is_beyond_every_tolerance(tmp_path: Path, run: Any, other: dict[str, Any]) -> None:
    code, output, _ = run(build(tmp_path / "a"), build(tmp_path / "b", other), "--tolerance", 1000)
    assert code == 1
    assert "beyond tolerance: vae " in output


def test_what_stays_not_a_number_has_not_changed(tmp_path: Path, run: Any) -> None:
    first, second = change(loss=float("nan")), change(loss=float("nan"), fid=64.1)
    assert run(build(tmp_path / "a", first), build(tmp_path / "b", second))[0] == 0


def test_the_place_where_the_difference_begins_comes_first(tmp_path: Path, run: Any) -> None:
    locks = build(tmp_path / "a"), build(tmp_path / "b", change(loss=181.0), weights="other")
    output = run(*locks)[1]
    assert row(output, "train@vae")[-1] == "same inputs, another result"
    assert row(output, "evaluate@vae")[-1] == "from other data/models/vae"
    assert output.index("train@vae") < output.index("evaluate@vae")


def test_other_code_and_other_parameters_are_named(tmp_path: Path, run: Any) -> None:
    locks = build(tmp_path / "a"), build(tmp_path / "b", weights="other", code="other", steps=10)
    assert row(run(*locks)[1], "train@vae")[-1] == "from other src/loop.py, params.yaml: models.vae"


def test_figures_come_from_the_cache_where_the_folder_has_others(tmp_path: Path, run: Any) -> None:
    text = json.dumps(change(loss=181.0))
    digest = hashlib.md5(text.encode()).hexdigest()
    first = build(tmp_path / "a")
    second = build(tmp_path / "b", change(loss=181.0), written=f".dvc/cache/files/md5/{digest[:2]}/{digest[2:]}")
    assert row(run(first, second)[1], "vae", "loss")[3] == "181.0"
    (tmp_path / "b" / PATH).parent.mkdir(parents=True)
    (tmp_path / "b" / PATH).write_text(json.dumps(change(loss=999.0)))
    assert row(run(first, second)[1], "vae", "loss")[3] == "181.0"


def test_different_figures_that_are_not_at_hand_are_no_success(tmp_path: Path, run: Any) -> None:
    code, output, _ = run(build(tmp_path / "a"), build(tmp_path / "b", change(loss=181.0), written="elsewhere"))
    assert code == 1
    assert output.endswith(f"\nDifferent: not at hand beside its dvc.lock: {PATH}.\n")


def test_equal_figures_need_be_at_hand_in_one_build_only(tmp_path: Path, run: Any) -> None:
    for names in ("ab", "dc"):
        locks = [build(tmp_path / name, weights=name, written="elsewhere" if name in "bd" else PATH) for name in names]
        code, output, _ = run(*locks)
        assert code == 0
        assert "but the 5 figures by 0.00% at most" in output


def test_a_stage_that_only_one_build_has_is_named(tmp_path: Path, run: Any) -> None:
    both, one = build(tmp_path / "a"), tmp_path / "b"
    one.mkdir()
    write_lock(one, {"stages": {"train@vae": {"cmd": "train vae", "outs": [entry("data/models/vae", "w")]}}})
    for locks, side in ((both, one / "dvc.lock"), "first"), ((one / "dvc.lock", both), "second"):
        code, output, _ = run(*locks)
        assert code == 1
        assert row(output, "evaluate@vae")[-1] == f"only in the {side}"
        assert output.endswith(f"\nDifferent: only one build has {PATH}.\n")


def test_without_figures_other_outputs_are_no_success(tmp_path: Path, run: Any) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        write_lock(tmp_path / name, {"stages": {"train@vae": {"cmd": "train vae", "outs": [entry("data/models/vae", name)]}}})
    code, output, _ = run(tmp_path / "a/dvc.lock", tmp_path / "b/dvc.lock")
    assert code == 1
    assert output.endswith("\nDifferent: outputs differ and there are no figures to judge them by.\n")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no such file; `dvc repro` writes it"),
        (b"stages: [", "not YAML: "),
        (b"\xff\xfe\xfd", "not YAML: "),
        (b"", "expected a dvc.lock: stages, each with its outs and their hashes"),
        (b"models: {}", "expected a dvc.lock"),
        (b"stages: [1]", "expected a dvc.lock"),
        (b"stages: {a: 1}", "expected a dvc.lock"),
        (b"stages: {a: {cmd: b, outs: [{path: c}]}}", "expected a dvc.lock"),
        (b"stages: {a: {cmd: b, outs: c}}", "expected a dvc.lock"),
        (b"stages: {a: {cmd: b, params: {p: 1}}}", "expected a dvc.lock"),
    ],
)
def test_a_faulty_record_is_refused_with_one_message(tmp_path: Path, run: Any, content: bytes | None, message: str) -> None:
    good, bad = build(tmp_path / "a"), tmp_path / "b.lock"
    if content is not None:
        bad.write_bytes(content)
    code, output, errors = run(good, bad)
    assert (code, output) == (2, "")
    assert errors.startswith(f"compare: {bad}: {message}")
    assert errors.count("\n") == 1


@pytest.mark.parametrize("text", ["[1]", "{"])
def test_damaged_figures_are_refused(tmp_path: Path, run: Any, text: str) -> None:
    first, second = build(tmp_path / "a"), build(tmp_path / "b", weights="other")
    second.write_text(second.read_text().replace(entry("", json.dumps(FIGURES))["md5"], entry("", text)["md5"]))
    (tmp_path / "b" / PATH).write_text(text)
    code, _, errors = run(first, second)
    assert code == 2
    assert errors.startswith(f"compare: {tmp_path / 'b' / PATH}: ")


@pytest.mark.parametrize("value", ["-1", "nan", "inf", "much"])
def test_a_wrong_tolerance_is_refused(tmp_path: Path, run: Any, value: str) -> None:
    with pytest.raises(SystemExit) as exit_:
        run("a", "b", "--tolerance", value)
    assert exit_.value.code == 2


def proven(workspace: Workspace, *options: str) -> tuple[int, str]:
    """Exit code and output of the proof."""
    process = workspace.start(sys.executable, "-m", "generative.prove", *options)
    output, _ = process.communicate(timeout=500)
    return process.returncode, output


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """One model, committed, of a person whose builds share a cache and a seed of hashes; temporary files go into a folder of the test."""
    (tmp_path / "temporary").mkdir()
    (tmp_path / "config/dvc").mkdir(parents=True)
    (tmp_path / "config/dvc/config").write_text(f"[cache]\n    dir = {tmp_path / 'shared'}\n")
    for variable, value in {"TMPDIR": tmp_path / "temporary", "XDG_CONFIG_HOME": tmp_path / "config", "PYTHONHASHSEED": 0}.items():
        monkeypatch.setenv(variable, str(value))
    workspace = make(tmp_path / "own", ["mlp"])
    commit(workspace)
    return workspace


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_two_builds_from_nothing_are_the_same(own: Workspace, tmp_path: Path) -> None:
    own.change("models", "mlp", steps=5)
    code, output = proven(own)
    assert code == 0, output
    assert "Not part of the proof, because not committed: params.yaml" in output
    assert output.count(": train@mlp\n") == 2
    assert "\nIdentical: all 8 outputs of 6 stages.\n" in output
    assert not (tmp_path / "shared").exists()
    assert not list((tmp_path / "temporary").glob("generative-*"))


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_what_varies_is_found_and_both_builds_stay(own: Workspace, tmp_path: Path) -> None:
    sample = own.folder / "src/generative/stages/sample.py"
    without_order = "json.dumps(captions | {'words': str(set(map(str, range(20))))}"
    sample.write_text(sample.read_text().replace("json.dumps(captions", without_order))
    (own.folder / "tests").mkdir()
    (own.folder / "scales").mkdir()
    for place in ("tests/tiny.yaml", "scales/showcase.yaml"):
        (own.folder / place).write_text("models:\n  mlp: {steps: 2}\n")
    commit(own)
    code, output = proven(own, "--tiny")
    assert code == 1, output
    assert row(output, "sample@mlp")[1] == "data/samples/mlp.json"
    assert row(output, "sample@mlp")[-1] == "same inputs, another result"
    (kept,) = re.findall(r"Both builds stay in (.+)", output)
    assert Path(kept).parent == tmp_path / "temporary"
    for name in ("first", "the_second_build"):
        assert json.loads((Path(kept) / name / "data/models/mlp/model.json").read_text())["params"]["steps"] == 2


@pytest.mark.slow
def test_a_build_that_fails_is_told_and_leaves_nothing(own: Workspace, tmp_path: Path) -> None:
    own.change("models", "mlp", steps=0)
    commit(own)
    code, output = proven(own)
    assert code == 2, output
    assert "check: params.yaml: models.mlp.steps: " in output
    assert "Traceback" not in output
    assert not list((tmp_path / "temporary").glob("generative-*"))
