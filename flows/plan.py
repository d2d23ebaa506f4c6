"""What is to be done, as a pure function of what `dvc dag --dot` and `dvc status --json` print."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping

from generative.errors import UsageError
from generative.params import closest

Needs = dict[str, frozenset[str]]  # a stage -> the stages it waits for; the stages in DVC's order

_EDGE = re.compile(r'\s*"([^"]+)"(?:\s*->\s*"([^"]+)")?;')


def plan(dot: str, status: str, names: Iterable[str] = ()) -> Needs:
    """The stages to run, for all of the catalogue or for what leads to `names`.

    These are the stages that DVC finds out of date and all that depend on them: what `dvc repro` would look at closer.
    """
    needs = graph(dot)
    chosen = leading_to(needs, names)
    to_do = chosen & _reach(json.loads(status or "{}").keys() & chosen, _reversed(needs))
    return {stage: before & to_do for stage, before in needs.items() if stage in to_do}


def graph(dot: str) -> Needs:
    """Every stage with the stages it depends on."""
    needs: dict[str, set[str]] = {}
    for line in dot.splitlines():
        if match := _EDGE.match(line):
            stage, after = match.groups()
            needs.setdefault(stage, set())
            if after:
                needs.setdefault(after, set()).add(stage)
    return {stage: frozenset(before) for stage, before in needs.items()}


def leading_to(needs: Needs, names: Iterable[str]) -> set[str]:
    """All stages of the catalogue's entries `names` and what they need; every stage where no name is given.

    Raises:
        UsageError: no stage works on one of the names.
    """
    names = list(names)
    known = {name for stage in needs if (name := stage.partition("@")[2])}
    for name in names:
        if name not in known:
            raise UsageError(f"dvc.yaml: {name}: no stage works on it{closest(name, sorted(known))}")
    return _reach((s for s in needs if not names or s.partition("@")[2] in names), needs)


def blocked_by(needs: Needs, failed: Iterable[str]) -> dict[str, str]:
    """Every stage downstream of a failed one, with the name of that one."""
    after = _reversed(needs)
    return {stage: culprit for culprit in failed for stage in _reach([culprit], after) - {culprit}}


def _reversed(needs: Needs) -> dict[str, set[str]]:
    after: dict[str, set[str]] = {stage: set() for stage in needs}
    for stage, before in needs.items():
        for other in before:
            after[other].add(stage)
    return after


def _reach(start: Iterable[str], edges: Mapping[str, Iterable[str]]) -> set[str]:
    seen: set[str] = set()
    ahead = list(start)
    while ahead:
        stage = ahead.pop()
        if stage not in seen:
            seen.add(stage)
            ahead.extend(edges[stage])
    return seen
