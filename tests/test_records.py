"""What the benchmarks read off the journal of a build."""

from __future__ import annotations

import json
from contextlib import chdir
from pathlib import Path

import pytest

from benchmarks.records import intervals, report, scheduled

ALONE = frozenset[str]()
NEEDS = {"train@a": ALONE, "train@b": ALONE, "train@c": frozenset(["train@a"]), "sample@c": frozenset(["train@c"]), "train@d": ALONE}
SECONDS = {"train@a": 2.0, "train@b": 7.0, "train@c": 3.0, "sample@c": 4.0, "train@d": 5.0}


@pytest.mark.parametrize(("workers", "seconds"), [(1, 21.0), (2, 11.0), (3, 9.0)])
def test_the_longest_chain_goes_first(workers: int, seconds: float) -> None:
    assert scheduled(NEEDS, SECONDS, workers) == seconds


def test_the_time_in_which_no_stage_is_at_work_is_what_lies_between(tmp_path: Path) -> None:
    with chdir(tmp_path):
        for name, end, seconds in [("a", 10, 10.0), ("b", 12, 4.0), ("c", 20, 4.0)]:
            file = Path(f"data/runs/train/{name}.json")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(json.dumps({"stage": "train", "name": name, "when": f"2026-11-24T10:00:{end}+00:00", "seconds": seconds}))
        lines = report(NEEDS, intervals(), 2).splitlines()
    assert lines[1].split("journal, their own work")[1].strip() == "18.0"
    assert lines[2].endswith(" 20.0")
    assert "(20.0 %)" in lines[3]
    assert lines[3].endswith(" 4.0")
