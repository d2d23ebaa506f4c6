"""What a flow plans, in which order it runs the stages, and what it says of them."""

from __future__ import annotations

import json
import re
import threading
import time
from concurrent.futures import Future
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from flows.forecast import expected, known, left, urgency
from flows.plan import Needs, blocked_by, graph, leading_to, plan
from flows.report import failures, table
from flows.scheduler import Result, carry_out
from flows.view import View
from generative.errors import UsageError
from tasks.dvc import last_words, outcome

DOT = """strict digraph  {
"check";
"download@dots";
"train@a";
"train@b";
"sample@a";
"sample@b";
"check" -> "download@dots";
"download@dots" -> "train@a";
"download@dots" -> "train@b";
"train@a" -> "sample@a";
"train@b" -> "sample@b";
}
"""


def status(*stages: str) -> str:
    return json.dumps({stage: ["changed command"] for stage in stages})


# --- the plan


def test_nothing_out_of_date_means_nothing_to_do() -> None:
    assert plan(DOT, "{}") == {}
    assert plan(DOT, "") == {}


def test_what_is_out_of_date_brings_what_depends_on_it_and_nothing_else() -> None:
    assert plan(DOT, status("train@a")) == {"train@a": frozenset(), "sample@a": frozenset({"train@a"})}


def test_a_stage_waits_for_the_planned_ones_only() -> None:
    needs = plan(DOT, status("download@dots"))
    assert list(needs) == ["download@dots", "train@a", "train@b", "sample@a", "sample@b"]
    assert needs["download@dots"] == frozenset()
    assert needs["train@b"] == {"download@dots"}


def test_a_name_means_all_its_stages_and_what_they_need() -> None:
    assert leading_to(graph(DOT), ["b"]) == {"check", "download@dots", "train@b", "sample@b"}
    assert plan(DOT, status("download@dots", "train@a"), ["b"]).keys() == {"download@dots", "train@b", "sample@b"}


def test_a_single_stage_without_edges_is_seen() -> None:
    assert graph('strict digraph {\n"only@x";\n}') == {"only@x": frozenset()}


def test_an_unknown_name_is_refused_with_the_closest() -> None:
    with pytest.raises(UsageError, match="dotz: no stage works on it; did you mean dots"):
        plan(DOT, "{}", ["dotz"])


# --- the scheduler


class Told:
    """A watcher that remembers."""

    def __init__(self) -> None:
        self.stages: list[str] = []
        self.results: list[Result] = []

    def begun(self, stage: str) -> None:
        self.stages.append(stage)

    def ended(self, result: Result) -> None:
        self.results.append(result)


class Bench:
    """Runs pretended stages in threads; remembers the order and how many were at work at once."""

    def __init__(self, fail: tuple[str, ...] = (), seconds: dict[str, float] | None = None) -> None:
        self.fail, self.seconds = fail, seconds or {}
        self.begun: list[str] = []
        self.ended: list[str] = []
        self.most = 0

    def submit(self, stage: str) -> Future[str]:
        future: Future[str] = Future()
        self.begun.append(stage)
        self.most = max(self.most, len(self.begun) - len(self.ended))

        def work() -> None:
            time.sleep(self.seconds.get(stage, 0.02))
            self.ended.append(stage)
            if stage in self.fail:
                future.set_exception(RuntimeError(f"{stage} broke"))
            else:
                future.set_result("ran")

        threading.Thread(target=work).start()
        return future

    def run(self, needs: Needs, workers: int, urgency: dict[str, float] | None = None) -> dict[str, Result]:
        told = Told()
        results = carry_out(needs, self.submit, workers, told, urgency or {})
        assert told.stages == self.begun
        assert told.results == [result for result in results if result.outcome != "blocked"]
        return {result.stage: result for result in results}


EVERYTHING = plan(DOT, status(*graph(DOT)))


def test_a_stage_starts_after_all_it_needs() -> None:
    bench = Bench()
    assert {result.outcome for result in bench.run(EVERYTHING, 8).values()} == {"ran"}
    for stage, before in EVERYTHING.items():
        for other in before:
            assert bench.begun.index(other) < bench.begun.index(stage)
    assert bench.begun[:2] == ["check", "download@dots"]


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_all_workers_are_used_and_no_more(workers: int) -> None:
    bench = Bench()
    bench.run({f"train@{i}": frozenset() for i in range(6)}, workers)
    assert bench.most == workers


def test_no_waves_a_short_branch_does_not_wait_for_a_long_one() -> None:
    bench = Bench(seconds={"train@a": 0.4})
    bench.run(EVERYTHING, 2)
    assert bench.ended.index("sample@b") < bench.ended.index("train@a")


def test_a_failure_blocks_what_depends_on_it_and_nothing_else() -> None:
    bench = Bench(fail=("train@a",))
    results = bench.run(EVERYTHING, 2)
    assert results["train@a"].outcome == "failed"
    assert results["train@a"].reason == "train@a broke"
    assert results["sample@a"] == Result("sample@a", "blocked", reason="by train@a")
    assert results["sample@b"].outcome == "ran"
    assert "sample@a" not in bench.begun


def test_a_failure_at_the_root_blocks_everything() -> None:
    bench = Bench(fail=("check",))
    results = bench.run(EVERYTHING, 2)
    assert bench.begun == ["check"]
    assert [result.outcome for result in results.values()] == ["failed"] + ["blocked"] * 5
    assert blocked_by(EVERYTHING, ["check"]).keys() == EVERYTHING.keys() - {"check"}


def test_an_interruption_comes_through() -> None:
    def interrupted(stage: str) -> Future[str]:
        future: Future[str] = Future()
        future.set_exception(KeyboardInterrupt())
        return future

    told = Told()
    with pytest.raises(KeyboardInterrupt):
        carry_out(EVERYTHING, interrupted, 2, told, {})
    assert not told.results


def test_the_most_urgent_goes_first_and_none_that_must_wait() -> None:
    bench = Bench()
    bench.run(EVERYTHING, 1, {"train@b": 2.0, "sample@b": 9.0, "train@a": 1.0})
    assert bench.begun == ["check", "download@dots", "train@b", "sample@b", "train@a", "sample@a"]


# --- the forecast


def test_the_longest_chain_is_the_most_urgent() -> None:
    seconds = {"check": 1.0, "download@dots": 2.0, "train@a": 5.0, "train@b": 3.0, "sample@a": 1.0, "sample@b": 4.0}
    urgent = urgency(EVERYTHING, seconds)
    assert urgent == {"check": 10.0, "download@dots": 9.0, "train@a": 6.0, "train@b": 7.0, "sample@a": 1.0, "sample@b": 4.0}
    assert left(EVERYTHING, seconds, 2) == 10.0
    assert left(EVERYTHING, seconds, 1) == 16.0
    assert left(EVERYTHING, dict.fromkeys(seconds, 0.0), 2) == 0.0


def test_what_never_ran_is_expected_to_take_as_long_as_its_kind() -> None:
    seconds = expected(EVERYTHING, {"train@a": 5.0, "train@c": 9.0, "sample@a": 3.0})
    assert seconds == {"check": 5.0, "download@dots": 5.0, "train@a": 5.0, "train@b": 7.0, "sample@a": 3.0, "sample@b": 3.0}
    assert set(expected(EVERYTHING, {}).values()) == {1.0}


def test_a_damaged_journal_costs_its_estimate_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    contents = {"a": '{"seconds": 4.5}', "b": "{", "c": "[]", "d": '{"seconds": "long"}'}
    (tmp_path / "data/runs/train").mkdir(parents=True)
    for name, text in contents.items():
        (tmp_path / f"data/runs/train/{name}.json").write_text(text)
    assert known() == {"train@a": 5.5}


# --- the view


def view(terminal: bool) -> tuple[View, StringIO]:
    screen = StringIO()
    console = Console(file=screen, force_terminal=terminal, width=100)
    return View(EVERYTHING, dict.fromkeys(EVERYTHING, 60.0), 2, certain=True, console=console), screen


def test_a_terminal_shows_what_runs_what_waits_and_what_failed() -> None:
    shown, _ = view(terminal=True)
    shown.ended(Result("check", "ran", 1.0))
    shown.ended(Result("download@dots", "failed", 1.0, "no network"))
    shown.begun("train@a")
    text = StringIO()
    Console(file=text, width=100).print(shown.show())
    assert re.search(r"train@a .*0 s", text.getvalue())
    assert "2 of 6 stages ended, 3 waiting, about 2 min left" in text.getvalue()
    assert "failed: download@dots" in text.getvalue()


def test_a_log_has_plain_lines(capsys: pytest.CaptureFixture[str]) -> None:
    shown, screen = view(terminal=False)
    with shown:
        shown.begun("check")
        shown.ended(Result("check", "ran", 1.25))
    assert capsys.readouterr().out == "check ran after 1.2 s, about 3 min left\n"
    assert screen.getvalue() == ""


def test_a_stage_that_no_task_runs_is_refused() -> None:
    from flows.catalogue import task_of

    with pytest.raises(UsageError, match=r"dvc.yaml: bake@a: expected a task in tasks/bake.py"):
        task_of("bake@a")


# --- what is said


def test_the_table_has_every_stage_and_the_totals() -> None:
    results = [Result("train@a", "ran", 12.34), Result("sample@a", "blocked", reason="by train@b")]
    text = table(results, 3, 20.0)
    assert re.search(r"train@a +ran +12\.3\n", text)
    assert re.search(r"sample@a +blocked +0\.0  by train@b\n", text)
    assert "1 ran, 1 blocked, 3 up to date; 20.0 s in all" in text


def test_the_message_names_what_failed_and_what_was_not_started() -> None:
    results = [Result("train@a", "ran"), Result("train@b", "failed", reason="no"), Result("sample@b", "blocked")]
    assert failures(results) == "train@b failed: no; not started: sample@b"
    assert failures(results[:1]) == ""


def test_the_last_words_are_the_stages_own() -> None:
    dvc = "ERROR: failed to reproduce 'train@a': failed to run: python x, exited with 1"
    assert last_words(["Running stage 'train@a':", "> python x", "train a: models.a.steps: missing", dvc]).endswith("missing")
    assert last_words(["Running stage 'train@a':", dvc]).startswith("failed to reproduce")
    full = "failed to reproduce 'train@a': database or disk is full"
    assert last_words(["train a: done", f"ERROR: {full}", "Having any troubles? Ask"]) == full


def test_the_outcome_is_what_dvc_says_of_this_stage() -> None:
    assert outcome("train@a", ["Stage 'train@a' didn't change, skipping"]) == "skipped"
    assert outcome("train@a", ["Stage 'train@a' is cached - skipping run, checking out outputs"]) == "cached"
    assert outcome("train@a", ["Running stage 'train@a':", "the loss didn't change, skipping"]) == "ran"
