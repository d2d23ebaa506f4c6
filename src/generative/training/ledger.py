"""The MLflow side of tracking: enters what the courier (`delivery.py`) brings as runs, figures, pictures and model versions.

Everything can be entered twice without harm, because a delivery may be cut off anywhere: runs are found again by a tag, figures
carry their own time (MLflow drops exact repetitions), weights are known by their hash. Only a picture that was under way may
arrive twice.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag
from mlflow.entities import Run as MlflowRun
from mlflow.exceptions import MlflowException

from generative.training.parcel import AwayError, Event, Parcel, RefusedError, brief

EXPERIMENT = "generative"
METRICS, SETTINGS, PARAM, TAG, KEY = 1000, 100, 6000, 5000, 250  # MLflow's limits: two in entries a batch, three in characters
FINAL = {  # the error codes of what will never be taken
    "INVALID_PARAMETER_VALUE",
    "BAD_REQUEST",
    "MALFORMED_REQUEST",
    "INVALID_STATE",
    "RESOURCE_ALREADY_EXISTS",
    "RESOURCE_DOES_NOT_EXIST",
}


@contextmanager
def judged() -> Iterator[None]:
    """Tells what MLflow refuses for good from what may work later."""
    try:
        yield
    except (FileNotFoundError, ValueError, TypeError, KeyError) as error:
        raise RefusedError(f"{type(error).__name__}: {error}") from error
    except MlflowException as error:
        raise (RefusedError if error.error_code in FINAL else AwayError)(brief(error)) from error
    except OSError as error:
        raise AwayError(brief(error)) from error


def remote(uri: str) -> bool:
    """Whether a store is a server, which does not see this machine's folders."""
    return uri.startswith(("http://", "https://"))


def clean(key: str) -> str:
    """A key of at most 250 characters that MLflow takes."""
    return re.sub(r"[^\w./ -]", "_", key, flags=re.ASCII)[:KEY]


class Ledger:
    """The MLflow side: finds or makes runs and enters events."""

    def __init__(self, uri: str, client: MlflowClient, experiment: str) -> None:
        self.uri, self.client, self.experiment = uri, client, experiment

    @classmethod
    def open(cls, uri: str, root: Path) -> Ledger:
        """Connects to a store and finds or makes the experiment; a local store keeps its files under `root`. Raises AwayError."""
        try:
            with judged():
                client = MlflowClient(uri, uri)
                found = client.get_experiment_by_name(EXPERIMENT)
                if found is None:
                    place = None if remote(uri) else (root / "mlruns").as_uri()
                    return cls(uri, client, client.create_experiment(EXPERIMENT, artifact_location=place))
                if found.lifecycle_stage == "deleted":
                    client.restore_experiment(found.experiment_id)
                return cls(uri, client, found.experiment_id)
        except RefusedError as error:
            raise AwayError(str(error)) from error

    def knows(self, run: str) -> bool:
        """Whether the store has this run."""
        try:
            with judged():
                self.client.get_run(run)
        except RefusedError:
            return False
        return True

    def search(self, tag: str, value: str) -> list[MlflowRun]:
        return list(self.client.search_runs([self.experiment], f"tags.`{tag}` = '{value}'", max_results=1000))

    def start(self, parcel: Parcel, event: Event) -> str:
        """Makes the run of a parcel under the parent of its execution, or finds it where an earlier delivery was cut off."""
        stage, name, revision, execution = (event[key] for key in ("stage", "name", "revision", "execution"))
        parent = self.parent(execution, event["time"])
        found = self.search("spool", parcel.folder.name)
        if found:
            run = found[0].info.run_id
        else:
            tags = {"spool": parcel.folder.name, "mlflow.parentRunId": parent}
            run = self.client.create_run(self.experiment, event["time"], tags, f"{stage}@{name}").info.run_id
        tags = {"stage": stage, "name": name, "revision": revision, "mlflow.source.name": f"generative.stages.{stage}"}
        if revision != "none":
            tags["mlflow.source.git.commit"] = revision.removesuffix("-dirty")
        self.settings(run, event["params"], {**event["tags"], **tags})
        return run

    def parent(self, execution: Mapping[str, str], when: int) -> str:
        """The run that groups an execution, running."""
        found = self.search("execution", execution["id"])
        if not found:
            tags = {"execution": execution["id"]}
            return self.client.create_run(self.experiment, when, tags, execution["name"]).info.run_id
        if found[0].info.status != "RUNNING":
            self.client.update_run(found[0].info.run_id, "RUNNING")
        return found[0].info.run_id

    def settings(self, run: str, params: Mapping[str, Any], tags: Mapping[str, str]) -> None:
        named = [Param(clean(key), str(value)[:PARAM]) for key, value in params.items()]
        for start in range(0, len(named), SETTINGS):
            self.client.log_batch(run, params=named[start : start + SETTINGS], synchronous=True)
        self.client.log_batch(run, tags=[RunTag(clean(key), str(value)[:TAG]) for key, value in tags.items()], synchronous=True)

    def metrics(self, run: str, events: list[Event]) -> None:
        points = [Metric(clean(key), value, e["time"], e["step"]) for e in events for key, value in e["values"].items()]
        for start in range(0, len(points), METRICS):
            self.client.log_batch(run, metrics=points[start : start + METRICS], synchronous=True)

    def image(self, run: str, path: Path, event: Event) -> None:
        from PIL import Image

        try:
            picture = Image.open(path)
            picture.load()
        except (OSError, SyntaxError) as error:  # both are what Pillow raises for a damaged picture
            raise ValueError(brief(error)) from error
        self.client.log_image(run, picture, key=clean(event["key"]), step=event["step"], timestamp=event["time"], synchronous=True)

    def model(self, run: str, parcel: Parcel, event: Event) -> None:
        """Registers weights once. A server gets the files; beside a local store they stay where DVC keeps them."""
        name = self.client.get_run(run).data.tags["name"]
        if not self.client.search_registered_models(f"name = '{name}'"):
            self.client.create_registered_model(name)
        if any(version.tags.get("sha256") == event["sha256"] for version in self.client.search_model_versions(f"name = '{name}'")):
            return
        source = Path(event["folder"]).as_uri()
        if remote(self.uri):
            self.upload(run, parcel, event["files"], "model")
            source = f"runs:/{run}/model"
        self.client.create_model_version(name, source, run, {**event["tags"], "sha256": event["sha256"]})

    def upload(self, run: str, parcel: Parcel, files: Mapping[str, str], place: str | None = None) -> None:
        """Uploads spooled files under their own names, which may name folders too."""
        for name, kept in files.items():
            named = parcel.folder / "named" / name
            named.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(parcel.folder / kept, named)
            folder = Path(place or "") / Path(name).parent
            self.client.log_artifact(run, str(named), None if folder == Path() else str(folder))

    def end(self, run: str, event: Event) -> None:
        """Ends a run, and its parent where no other child is running."""
        if "error" in event:
            self.client.set_tag(run, "error", event["error"])
        self.client.set_terminated(run, event["status"], event["time"])
        parent = self.client.get_run(run).data.tags["mlflow.parentRunId"]
        states = {child.info.status for child in self.search("mlflow.parentRunId", parent)}
        if "RUNNING" not in states:
            self.client.set_terminated(parent, "FINISHED" if states == {"FINISHED"} else "FAILED", event["time"])

    def enter(self, parcel: Parcel, events: list[Event]) -> None:
        """Enters metrics, or one event of another kind. Raises AwayError or RefusedError."""
        event = events[0]
        with judged():
            match event["event"]:
                case "metrics":
                    self.metrics(parcel.run, events)
                case "start":
                    parcel.run = self.start(parcel, event)
                case "image":
                    self.image(parcel.run, parcel.folder / event["file"], event)
                case "artifact":
                    self.upload(parcel.run, parcel, {event["name"]: event["file"]})
                case "model":
                    self.model(parcel.run, parcel, event)
                case "end":
                    self.end(parcel.run, event)
                case _:
                    raise ValueError("not an event")
