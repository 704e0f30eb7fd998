"""What MLflow shows of a run's origin: its command, its data set, the scores of what it began with.

And of a registered model: which run, data set and score it has, and which is the best.
"""

import shlex
import warnings
from collections.abc import Iterable, Iterator, Mapping
from itertools import takewhile
from typing import Any

import mlflow
import pandas as pd
from mlflow.data.dataset import Dataset
from mlflow.entities import Run
from mlflow.exceptions import MlflowException

from affinitynet.runs.record import RunRecord, flatten
from affinitynet.runs.session import NODE_OPTIONS

SCORE = "segmentation.miou"
"""The metric that the best model is the highest of."""

SCORES = (SCORE, "segmentation.iou.")
"""The metrics of a model, or what their names begin with."""

CONTEXTS = {"train": "training", "val": "evaluation"}
"""Split to what MLflow calls its use."""

STAGES = ("cam", "affinity_labels", "affinity_training", "revision", "segmentation")
"""What a metric's name begins with, in the order of the stages."""

LOCAL_SERVER = "http://127.0.0.1:5000"
"""Where `make mlflow` shows a database."""

ORIGIN = ("environment", "data_set")
"""Tags that models must share to be compared."""

OPTIONS = {
    "pipeline_names": "pipelines",
    "tags": "tags",
    **NODE_OPTIONS,
    "from_inputs": "from-inputs",
    "to_outputs": "to-outputs",
    "namespaces": "namespaces",
}
"""What a session calls the options of `kedro run` that take names."""


def format_command(run_params: Mapping[str, Any], env: str | None, given: Mapping[str, Any]) -> str:
    """Write the command that repeats a run.

    Args:
        run_params: What Kedro hands to its hooks.
        env: Configuration environment; None for Kedro's default.
        given: The parameters of `--params`, nested.
    """
    words = ["kedro", "run", *(["--env", env] if env else [])]
    for name, option in OPTIONS.items():
        if values := run_params.get(name):
            words += [f"--{option}", ",".join(values)]
    if versions := run_params.get("load_versions"):
        pairs = (f"{name}:{version}" for name, version in versions.items())
        words += ["--load-versions", ",".join(pairs)]
    if values := flatten(given):
        texts = (f"{name}={_format_value(value)}" for name, value in values.items())
        words += ["--params", ",".join(texts)]
    return shlex.join(words)


def _format_value(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, list | tuple):
        return f"[{','.join(map(_format_value, value))}]"
    return str(value)


def log_data_set(index: pd.DataFrame, *, name: str, source: str) -> dict[str, Dataset]:
    """Log the splits of a data set as inputs of the active run, if there is one.

    Args:
        name: Of the data set.
        source: Folder of its photos.

    Returns:
        Each split, as MLflow has it.
    """
    from mlflow.data.pandas_dataset import from_pandas  # takes a second to import

    splits: dict[str, Dataset] = {}
    for split, context in CONTEXTS.items():
        rows = index[index["split"] == split].reset_index()
        if len(rows):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of integer columns, which could have gaps
                splits[split] = from_pandas(rows, source=source, name=f"{name}, {split}")
                mlflow.log_input(splits[split], context=context)
    return splits


def inherited_scores(record: RunRecord, records: Iterable[RunRecord]) -> dict[str, float]:
    """Collect the scores of the runs whose outputs a run reads, so that runs can be compared.

    Returns:
        The metrics of the stages before the run's own first one.
    """
    own = {node.partition(".")[0] for node in record.nodes}
    earlier = {*takewhile(lambda stage: stage not in own, STAGES)}
    scores: dict[str, float] = {}
    for run in _ancestors(record, {each.version: each for each in records}):
        found = run.data.metrics.items()
        scores = {name: at for name, at in found if name.partition(".")[0] in earlier} | scores
    return scores


def run_address(run_id: str) -> str:
    """Return where MLflow shows a run.

    Without `workflowType` its pages open on what is meant for language models.
    """
    store, run = mlflow.get_tracking_uri(), mlflow.get_run(run_id)
    server = store.rstrip("/") if store.startswith("http") else LOCAL_SERVER
    page = f"experiments/{run.info.experiment_id}/runs/{run_id}"
    return f"{server}/#/{page}?workflowType=machine_learning"


def _ancestors(record: RunRecord, made: Mapping[str, RunRecord]) -> Iterator[Run]:
    """Yield the MLflow runs that a run's inputs were made by, the nearest first."""
    seen = {record.version}
    generation = [record]
    while generation:
        versions = {v for each in generation for v in each.inputs.values()} & made.keys() - seen
        seen |= versions
        generation = [made[version] for version in sorted(versions, reverse=True)]
        for each in generation:
            if each.mlflow_run:
                try:
                    yield mlflow.get_run(each.mlflow_run)
                except MlflowException:  # of another store
                    continue


def score_models(run: Run, val: Dataset | None) -> None:
    """Tie the scores of the models that a run has logged to the data set, for MLflow's search.

    MLflow itself ties them to the models, but to no data set where they are logged first.

    Args:
        run: With the scores of the network.
        val: What they were computed on.
    """
    ours = f"source_run_id = '{run.info.run_id}'"
    models = mlflow.search_logged_models([run.info.experiment_id], ours, output_format="list")
    scores = [name for name in run.data.metrics if name.startswith(SCORES)] if models else []
    for name in scores:
        last = mlflow.MlflowClient().get_metric_history(run.info.run_id, name)[-1]
        for model in models:
            mlflow.log_metric(
                *(name, last.value),
                step=last.step,
                timestamp=last.timestamp + 1,  # two points of one time are refused
                model_id=model.model_id,
                dataset=val,
            )


def tag_model(name: str, version: str, run: Run) -> None:
    """Say in the registry where a model comes from, and keep the alias of the best one.

    The best of each environment and data set has the highest `SCORE`; its alias is
    `best-<environment>`, of the data set that was registered last.

    Args:
        name: In the registry.
        version: Of the model.
        run: That made it.
    """
    client = mlflow.MlflowClient()
    tags = run.data.tags
    origin: dict[str, str] = {key: tags.get(key, "") for key in ORIGIN}
    origin["run"] = tags.get("version", run.info.run_id)
    score = run.data.metrics.get(SCORE)
    if score is not None:
        origin[SCORE] = f"{score:.4f}"
    for key, value in origin.items():
        client.set_model_version_tag(name, version, key, value)
    shown = f"{SCORE} {score:.3f}, " if score is not None else ""
    client.update_model_version(
        name, version, f"{shown}environment {origin['environment']}, run {origin['run']}"
    )
    same = [
        each
        for each in client.search_model_versions(f"name = '{name}'")
        if SCORE in each.tags and all(each.tags.get(key) == origin[key] for key in ORIGIN)
    ]
    if same:
        best = max(same, key=lambda each: float(each.tags[SCORE]))
        client.set_registered_model_alias(name, f"best-{origin['environment']}", best.version)
