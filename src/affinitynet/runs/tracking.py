"""Hooks that tell MLflow what the catalog saves, as each entry's metadata asks for it.

kedro-mlflow starts and ends the run. Parameters, tags and the run's name are those of its record.
What is left is driven by `metadata: {mlflow: …}` of the catalog entries:

- `metrics`: a nested dict of scores becomes metrics, `cam.metrics` -> `cam.miou`, `cam.iou.cat`;
- `history`: a table with a `step` column becomes curves, `cam.history` -> `cam.loss`;
- `table`: a table becomes a CSV artifact;
- `scores`: a table becomes a CSV artifact, and a JSON one that MLflow sets side by side for several
  runs and `mlflow.load_table` reads;
- `trials`: a table of settings and their `miou` becomes the same two, and with the parameter
  `nested_runs` of its stage each row a nested run with the settings as parameters;
- `json`: what JSON can hold becomes a JSON artifact;
- `yaml`: a text becomes a YAML artifact;
- `figure`: a Matplotlib figure becomes a PNG artifact;
- `page`: a self-contained HTML page, `index` of its folder, becomes an HTML artifact;
- `model`: a file for `affinitynet.load` becomes an MLflow model, `export.model` in the registry
  under the name that the parameter `export.registered_model` gives.
"""

import hashlib
import json
import logging
import os
import re
import shutil
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from importlib.metadata import version
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import mlflow
import pandas as pd
from filelock import FileLock
from kedro.framework.hooks import hook_impl
from kedro.framework.project import pipelines
from kedro.io import CatalogProtocol
from kedro.pipeline import Pipeline
from kedro_mlflow.framework.hooks.mlflow_hook import MlflowHook
from mlflow.data.dataset import Dataset
from mlflow.entities import LifecycleStage, LoggedModelStatus, Metric, Param, Run
from mlflow.exceptions import MlflowException
from mlflow.utils.mlflow_tags import (
    MLFLOW_LOGGED_ARTIFACTS,
    MLFLOW_PARENT_RUN_ID,
    MLFLOW_RUN_NAME,
    MLFLOW_RUN_NOTE,
)
from PIL import Image

from affinitynet.data.layouts import LAYOUTS
from affinitynet.runs.context import RunContext
from affinitynet.runs.photos import INDEX
from affinitynet.runs.provenance import (
    format_command,
    inherited_scores,
    log_data_set,
    score_models,
    tag_model,
)
from affinitynet.runs.record import PACKAGE, RunRecord, flatten, git_revision, read_records
from affinitynet.runs.summary import name_data_set

logger = logging.getLogger(__name__)

HEADLINES = (
    *("cam.val_map", "cam.miou", "affinity_labels.coverage", "affinity_labels.accuracy"),
    *("revision.random_walk_miou", "revision.pseudo_label_miou", "segmentation.miou"),
)
"""The scores that a run's page in MLflow begins with, in the order of the stages."""

TOLD_ELSEWHERE = {"run_id", "env", "runtime_params", "project_path", "runner"}
"""What Kedro knows of a run that the tags `version` and `environment`, the parameters and the
record say better, or that is a matter of this machine."""

TRACKING_URI = "MLFLOW_TRACKING_URI"
"""Environment variable that names MLflow's store."""

MOST_NAMED = 6
"""Parameters that a run is named by, at most."""

MAX_BATCH = 1000
"""Metrics that MLflow takes in one call."""

SERVING = (
    *("mlflow", "torch", "torchvision", "timm", "safetensors", "numpy", "scipy", "pandas"),
    *("pillow", "pydensecrf2", "pydantic", "loky", "rich", "click"),
)
"""What `affinitynet.serving` imports."""


class RunTracking(MlflowHook):  # type: ignore[misc]  # kedro-mlflow has no types
    """kedro-mlflow, but for the parameters of nodes: `TrackingHooks` logs all parameters, flat.

    Of an argument that is a dataclass it would log the representation. A run that is resumed with
    other values of `context.EXECUTION_PARAMS` would fail, as MLflow lets no parameter change.
    """

    @hook_impl
    def after_context_created(self, context: RunContext) -> None:
        """Set MLflow up, one process at a time: the first one makes the database's tables.

        The environment variable that MLflow sets itself is put back: a later run of this process
        would take it for the user's.
        """
        before = os.environ.get(TRACKING_URI)
        with _lock_of(context):
            try:
                super().after_context_created(context)
            except MlflowException as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise
                super().after_context_created(context)  # another process made the experiment
        os.environ.pop(TRACKING_URI, None)
        if before:
            os.environ[TRACKING_URI] = before
        _compare_artifacts(context)
        self.context = context

    @hook_impl
    def before_pipeline_run(
        self, run_params: dict[str, Any], pipeline: Pipeline, catalog: CatalogProtocol
    ) -> None:
        """Start the run, or go on in that of the run that is resumed.

        What kedro-mlflow makes tags of does not include `TOLD_ELSEWHERE`.
        """
        former = self.context.resumed.mlflow_run if self.context.resumed else None
        if former and _is_tracked(former):
            options: Any = self.context.mlflow  # type: ignore[attr-defined]  # set by kedro-mlflow
            options.tracking.run.id = former
        elif former:
            logger.warning(
                "The MLflow run %s of the resumed run is not in %s. A new one is made there, "
                "without the scores of the nodes that are finished.",
                *(former, mlflow.get_tracking_uri()),
            )
        selection = {key: run_params[key] for key in run_params.keys() - TOLD_ELSEWHERE}
        super().before_pipeline_run(selection, pipeline, catalog)
        given = self.context.config_loader.runtime_params or {}
        command = format_command(run_params, self.context.env, given)
        if mlflow.active_run():
            mlflow.set_tag("kedro_command", command)

    def _log_param(self, name: str, value: Any) -> None:
        pass


class TrackingHooks:
    """Log parameters, scores, curves, tables and figures to the active MLflow run."""

    @hook_impl
    def after_context_created(self, context: RunContext) -> None:
        """Keep the context, which knows the run's parameters and record."""
        self.context = context

    @hook_impl
    def before_pipeline_run(self, pipeline: Pipeline, catalog: CatalogProtocol) -> None:
        """Note the MLflow run in the record; log all parameters, flat, and where they came from."""
        self.catalog = catalog
        self.splits: dict[str, Dataset] = {}
        run = mlflow.active_run()
        if not run:
            return
        mlflow.log_params(self.context.tracked_params)
        mlflow.set_tags(
            {
                "environment": self.context.env or "base",
                "git_revision": git_revision(self.context.project_path),
            }
        )
        if record := self.context.record:
            record = self.context.record = replace(record, mlflow_run=run.info.run_id)
            record.write(self.context.records)
            mlflow.set_tags({"version": record.version, "pipelines": ", ".join(record.pipelines)})
            mlflow.set_tags({f"input.{name}": version for name, version in record.inputs.items()})
            records = read_records(self.context.records)
            given = self.context.runtime_params
            mlflow.set_tag(MLFLOW_RUN_NAME, run_name(record, pipelines, given, records))
            if maker := _maker(record, pipelines, records):
                mlflow.set_tag(MLFLOW_PARENT_RUN_ID, maker)
            log_metrics(inherited_scores(record, records))
        if INDEX in pipeline.datasets() and catalog.exists(INDEX):  # else it is about to be made
            self._log_data_set(catalog.load(INDEX))

    def _log_data_set(self, index: pd.DataFrame) -> None:
        mlflow.set_tag("data_set", data_fingerprint(index))
        parameters = self.context.raw_parameters
        folder = LAYOUTS[parameters["data_set"]["layout"]].folder
        name, source = name_data_set(parameters), str(parameters[folder])
        self.splits = log_data_set(index, name=name, source=source)

    @hook_impl(tryfirst=True)  # before kedro-mlflow ends its run
    def after_pipeline_run(self) -> None:
        """Log how many images each stage skipped, where there are any; describe the models."""
        record = self.context.record
        counts: Counter[str] = Counter()
        for node, images in (record.skipped if record else {}).items():
            counts[node.split(".")[0]] += len(images)
        log_metrics({f"{stage}.skipped": count for stage, count in counts.items()})
        if run := mlflow.active_run():  # its models are registered before its network is scored
            run_id = run.info.run_id
            score_models(mlflow.get_run(run_id), self.splits.get("val"))
            for made in mlflow.MlflowClient().search_model_versions(f"run_id = '{run_id}'"):
                tag_model(made.name, made.version, mlflow.get_run(run_id))

    @hook_impl
    def before_dataset_saved(self, dataset_name: str, data: Any) -> None:
        """Log what is about to be saved.

        Before, not after: a run that is killed in between repeats both, whereas a saved but
        unlogged score would be lost, as a resumed run skips what is saved.
        """
        metadata = getattr(self.catalog.get(dataset_name), "metadata", None) or {}
        kind, stage = metadata.get("mlflow"), dataset_name.rpartition(".")[0]
        scores = flatten(data) if kind == "metrics" else {}
        if scores:
            logger.info("%s: %s", stage, _one_line(scores))
        if kind == "history" and len(data):
            logger.info("%s: loss %.3f", stage, data["loss"].iloc[-1])
        run = mlflow.active_run()
        if not run:
            return
        if dataset_name == INDEX:
            self._log_data_set(data)
        match kind:
            case "metrics":
                log_metrics({f"{stage}.{name}": value for name, value in scores.items()})
                _describe(run)
            case "history":
                log_history(run, data, prefix=stage)
            case "table" | "scores" | "trials":
                named = data.index.name is not None
                mlflow.log_text(data.to_csv(index=named), f"{dataset_name}.csv")
                if kind != "table":
                    log_compared(data, file=f"{dataset_name}.json")
                if kind == "trials" and self.context.raw_parameters[stage]["nested_runs"]:
                    log_trials(run, data, prefix=stage)
            case "json":
                mlflow.log_dict(data, f"{dataset_name}.json")
            case "yaml":
                mlflow.log_text(data, f"{dataset_name}.yml")
            case "figure":
                mlflow.log_figure(data, f"{dataset_name}.png", save_kwargs={"dpi": 150})
            case "page":
                mlflow.log_text(data["index"], f"{dataset_name}.html")
            case "model":
                own = self.context.raw_parameters[stage]
                options = {"registered": own["registered_model"], "max_pixels": own["max_pixels"]}
                log_model(data, name=dataset_name, **options)


def _lock_of(context: RunContext) -> AbstractContextManager[Any]:
    """Return a lock for a database that is a file; a server looks after its own."""
    given = context.config_loader.runtime_params
    if given and "mlflow_tracking_uri" not in given:
        path = Path(given["mlflow_db"])
        if path.parent.is_dir():
            return FileLock(f"{path}.lock")
    return nullcontext()


def _compare_artifacts(context: RunContext) -> None:
    """Warn where an experiment keeps another folder of artifacts than the one asked for."""
    tracking: Any = context.mlflow.tracking  # type: ignore[attr-defined]  # set by kedro-mlflow
    asked = tracking.experiment.create_experiment_kwargs.artifact_location
    experiment = mlflow.get_experiment_by_name(tracking.experiment.name)
    if asked and experiment and experiment.artifact_location.rstrip("/") != asked.rstrip("/"):
        logger.warning(
            "mlflow_artifacts is %s, but MLflow's experiment '%s' was made with %s and keeps it: "
            "tables and figures go there. Another database (mlflow_db) has experiments of its own.",
            *(asked, experiment.name, experiment.artifact_location),
        )


def _is_tracked(run: str) -> bool:
    """Whether MLflow's store has a run, and has not deleted it."""
    try:
        return bool(mlflow.get_run(run).info.lifecycle_stage == LifecycleStage.ACTIVE)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return False


def data_fingerprint(index: pd.DataFrame) -> str:
    """Hash the images' names, splits, tags and sizes: the same wherever the data set lies.

    Returns:
        Twelve hexadecimal digits.
    """
    rows = pd.util.hash_pandas_object(index.astype(str)).to_numpy()
    return hashlib.sha256(rows.tobytes()).hexdigest()[:12]


def run_name(
    record: RunRecord,
    registry: Mapping[str, Pipeline],
    given: Mapping[str, Any],
    records: Iterable[RunRecord],
) -> str:
    """Name a run by what tells it from others: `base revision: revision.random_walk.alpha=4`.

    Args:
        registry: All pipelines by name. Of a run that is not the whole `__default__`, but for what
            no parameter asks for, the name lists those that its nodes are of.
        given: The parameters that were given at run time, flat; of paths the last part is shown.
        records: Of all runs, newest first. Parameters that differ from those of the last run of the
            same nodes come first, as lists cut names off; also those of edited files.
    """
    from affinitynet.pipeline_registry import CONDITIONS  # imports all pipelines

    whole = {node.name for node in registry["__default__"].nodes}
    stages = {name.partition(".")[0] for name in record.nodes}
    is_whole = whole - CONDITIONS.keys() <= {*record.nodes} <= whole
    listed = [] if is_whole else [name for name in registry if name in stages]
    title = " ".join([record.env, ", ".join(listed)]).strip()
    before = next((each for each in records if _is_earlier(each, record)), record)
    changed = {
        name: value
        for name, value in record.parameters.items()
        if value != before.parameters.get(name) and (name in given or value not in given.values())
    }
    values = [
        f"{name}={str(value).rstrip('/').rpartition('/')[2]}"
        for name, value in {**changed, **given}.items()
    ]
    if len(values) > MOST_NAMED:
        values[MOST_NAMED:] = ["…"]
    return ": ".join(filter(None, [title, ", ".join(values)]))


def _is_earlier(other: RunRecord, record: RunRecord) -> bool:
    is_alike = (other.env, other.nodes) == (record.env, record.nodes)
    return is_alike and other.version < record.version


def _maker(
    record: RunRecord, registry: Mapping[str, Pipeline], others: Iterable[RunRecord]
) -> str | None:
    """Return the MLflow run that made a run's inputs, if this store still has it.

    Of several it is the one that made the input farthest down the default pipeline.
    """
    runs = {other.version: other.mlflow_run for other in others if other.version != record.version}
    outputs = [name for node in registry["__default__"].nodes for name in node.outputs]
    for name in reversed(outputs):
        if run := runs.get(record.inputs.get(name, "")):
            try:
                return str(mlflow.get_run(run).info.run_id)
            except MlflowException:
                logger.info("The run %s is not in this MLflow store.", record.inputs[name])
    return None


def _describe(run: Run) -> None:
    """Let the page of a run begin with its scores so far, also those from before a resume."""
    scores = mlflow.get_run(run.info.run_id).data.metrics
    found = [name for name in HEADLINES if name in scores]
    if found:
        result = f"{found[-1]} **{scores[found[-1]]:.3f}**\n"
        rows = [f"| {name} | {scores[name]:.3f} |" for name in found]
        mlflow.set_tag(MLFLOW_RUN_NOTE, "\n".join([result, "| score | |", "|---|---|", *rows]))


def log_metrics(scores: Mapping[str, float]) -> None:
    """Log scores to the active MLflow run, if there is one."""
    if mlflow.active_run():
        # of a class's name MLflow takes letters, digits and these
        named = {re.sub(r"[^\w. -]", "_", name): float(score) for name, score in scores.items()}
        mlflow.log_metrics(named)


def log_history(run: Run, history: pd.DataFrame, *, prefix: str) -> None:
    """Log a table of curves to a run: a metric a column, at the steps of `step`.

    The column `epoch` only counts the rows.
    """
    now = int(time.time() * 1000)
    curves = history.drop(columns="epoch").melt(id_vars="step", var_name="name").dropna()
    metrics = [
        Metric(f"{prefix}.{name}", float(value), now, int(step))
        for step, name, value in curves[["step", "name", "value"]].itertuples(index=False)
    ]
    client = mlflow.MlflowClient()
    for start in range(0, len(metrics), MAX_BATCH):
        client.log_batch(run.info.run_id, metrics=metrics[start : start + MAX_BATCH])


def log_compared(table: pd.DataFrame, *, file: str) -> None:
    """Log a table to the active run, if there is one, as `mlflow.log_table` does.

    That appends to what is there, so that a resumed run might have its rows twice.
    """
    run = mlflow.active_run()
    if not run:
        return
    mlflow.log_text(table.to_json(orient="split", index=False), file)
    listed = mlflow.get_run(run.info.run_id).data.tags.get(MLFLOW_LOGGED_ARTIFACTS, "[]")
    entries = [entry for entry in json.loads(listed) if entry["path"] != file]
    entries.append({"path": file, "type": "table"})
    mlflow.set_tag(MLFLOW_LOGGED_ARTIFACTS, json.dumps(entries))


def log_trials(parent: Run, trials: pd.DataFrame, *, prefix: str) -> None:
    """Log each row of a table as a nested run.

    The column `miou` becomes its metric, the others its parameters where they have a value.
    """
    experiment, run_id = parent.info.experiment_id, parent.info.run_id
    client = mlflow.MlflowClient()
    ours = f"tags.{MLFLOW_PARENT_RUN_ID} = '{run_id}' and attributes.run_name like '{prefix} %'"
    for left in mlflow.search_runs([experiment], ours, output_format="list"):
        client.delete_run(left.info.run_id)  # by a run that was killed here and is resumed
    for number, row in enumerate(trials.to_dict("records"), start=1):
        now = int(time.time() * 1000)
        miou = Metric("miou", float(row.pop("miou")), now, 0)
        settings = [Param(str(name), str(value)) for name, value in row.items() if pd.notna(value)]
        tags = {MLFLOW_PARENT_RUN_ID: run_id}
        child = client.create_run(experiment, now, tags, run_name=f"{prefix} {number}").info.run_id
        client.log_batch(child, metrics=[miou], params=settings)
        client.set_terminated(child)


def log_model(content: bytes, *, name: str, registered: str | None, max_pixels: int) -> None:
    """Log a model to the active run, if there is one, and register it; both at most once a run.

    It holds the checkpoint and the package's sources, and names the versions of what these need: it
    can be served where the project is not installed. Nothing is pickled.

    Args:
        content: What `affinitynet.load` reads.
        name: The logged model's name.
        registered: Name in the registry; None leaves it out.
        max_pixels: Pixels of a photo at most, when the model is served.
    """
    run = mlflow.active_run()
    if not run:
        return
    name = name.replace(".", "_")  # MLflow allows no dots
    ours = f"source_run_id = '{run.info.run_id}' and name = '{name}'"
    models = mlflow.search_logged_models([run.info.experiment_id], ours, output_format="list")
    # by a run that was killed before the file was saved, and is resumed
    logged = [model.model_id for model in models if model.status == LoggedModelStatus.READY]
    model_id = logged[0] if logged else _log_pyfunc(content, name, max_pixels)
    versions = mlflow.MlflowClient().search_model_versions(f"run_id = '{run.info.run_id}'")
    if registered and registered not in {version.name for version in versions}:
        mlflow.register_model(f"models:/{model_id}", registered)


def _log_pyfunc(content: bytes, name: str, max_pixels: int) -> str:
    """Log a model to the active run and return its id."""
    from mlflow import pyfunc
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, Schema
    from mlflow.types.schema import AnyType, Map

    photo = BytesIO()
    Image.new("RGB", (64, 48), "grey").save(photo, "png")
    with TemporaryDirectory() as folder:
        file, code = Path(folder, "model.safetensors"), Path(folder, PACKAGE.name)
        file.write_bytes(content)
        # of the files of new projects some are links, which lead nowhere in a part of a checkout
        shutil.copytree(PACKAGE, code, ignore=shutil.ignore_patterns("project", "__pycache__"))
        logged = pyfunc.log_model(
            name=name,
            loader_module="affinitynet.serving",
            data_path=str(file),
            model_config={"max_pixels": max_pixels},
            code_paths=[str(code)],
            pip_requirements=[f"{package}=={version(package)}" for package in SERVING],
            signature=ModelSignature(
                Schema([ColSpec(AnyType(), "image")]),  # bytes or an array
                Schema(
                    [
                        ColSpec(DataType.binary, "mask"),
                        ColSpec(Map(DataType.long), "classes"),
                        ColSpec(Map(DataType.double), "present"),
                        ColSpec(DataType.double, "confidence"),
                    ]
                ),
            ),
            input_example=pd.DataFrame({"image": [photo.getvalue()]}),
        )
    return str(logged.model_id)


def _one_line(scores: Mapping[str, Any]) -> str:
    """The scores of a stage in one line, without the classes'."""
    return " · ".join(
        f"{name} {value:.3f}" if isinstance(value, float) else f"{name} {value}"
        for name, value in scores.items()
        if "iou." not in name and "ap." not in name
    )
