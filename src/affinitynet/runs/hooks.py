"""Hooks that keep a run's record, check its inputs, and continue an unfinished run."""

import logging
import os
import socket
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import pandas as pd
from kedro.framework.hooks import hook_impl
from kedro.framework.project import pipelines
from kedro.io import CatalogProtocol, DatasetError
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node
from kedro.runner import SequentialRunner

from affinitynet.core.segments import SLIC
from affinitynet.data.files import why_unreadable
from affinitynet.data.layouts import LAYOUTS
from affinitynet.data.parameters import DataSet
from affinitynet.datasets.atomic import sweep
from affinitynet.datasets.corrected import CorrectedDataset
from affinitynet.datasets.folder import FolderDataset
from affinitynet.datasets.output_folder import OutputFolderDataset, begin_outputs
from affinitynet.datasets.tags import TagsDataset
from affinitynet.errors import UserError
from affinitynet.execution import ItemHandlers, handle_items
from affinitynet.pipeline_registry import CONDITIONS
from affinitynet.pipelines.ingestion.nodes import check_corrections
from affinitynet.pipelines.parameters import Parameters
from affinitynet.runs.context import RunContext
from affinitynet.runs.data_sets import check_data_sets
from affinitynet.runs.lock import IsHeldError, Lock, acquire
from affinitynet.runs.networks import MODEL, check_networks, describe_model
from affinitynet.runs.parameters import check_device, check_packages
from affinitynet.runs.photos import INDEX, PHOTOS, check_photos, forget_photos, note_photos
from affinitynet.runs.places import check_places
from affinitynet.runs.record import (
    RunRecord,
    code_fingerprint,
    git_revision,
    read_record,
    read_records,
)
from affinitynet.runs.session import RemainingRunner, select_requested, select_unfinished
from affinitynet.runs.versions import (
    fix_versions,
    is_begun,
    item_saver,
    list_mixed_inputs,
    location,
    reopen,
    versioned,
)

logger = logging.getLogger(__name__)

OUTPUT_FOLDERS = ("output", "overlays", "confidences", "coco")
"""Parameters that name folders which inference writes to."""

PER_IMAGE, TRAINING = "per_image", "training"
"""Tags of the nodes that can go on in the middle: by image, or from the last epoch."""


class RunHooks:
    """Keep the record of a run from its start to its end.

    A resumed run takes over the unfinished run's record. The runner skips the nodes whose outputs
    are complete. The others are handed what is left: nodes tagged `per_image` the images that
    their output lacks, nodes tagged `training` the last epoch's checkpoint.
    """

    context: RunContext

    def __init__(self) -> None:
        self._lock: Lock | None = None
        self._scope = ExitStack()

    @hook_impl
    def after_context_created(self, context: RunContext) -> None:
        """Keep the context, which knows the run's parameters and record."""
        self.context = context

    @hook_impl(wrapper=True, tryfirst=True)  # a run that is refused here never reaches MLflow
    def before_pipeline_run(
        self, run_params: dict[str, Any], pipeline: Pipeline, catalog: CatalogProtocol
    ) -> Generator[None, Any, Any]:
        """Fix all versions, check the inputs, open or take over the record.

        Raises:
            UserError: If an input was never made, the unfinished run was another one, or it is
                still going on.
        """
        try:
            self._open(run_params, pipeline, catalog)
            return (yield)  # the hooks of others
        except BaseException:
            self._abandon(catalog)
            raise

    def _open(
        self, run_params: dict[str, Any], pipeline: Pipeline, catalog: CatalogProtocol
    ) -> None:
        context = self.context
        env = f" --env {context.env}" if context.env and context.env != "local" else ""
        check_runner(run_params["runner"])
        photos = catalog.get(PHOTOS)
        local = isinstance(photos, FolderDataset) and "://" not in photos.path and photos.path
        check_places(context.places, Path(context.project_path, local) if local else None)
        names = run_params["pipeline_names"] or ["__default__"]
        if before := context.find_unfinished(names):
            before = context.resumed = self._take_over(before)
        pipeline = select_requested(whole := pipeline, catalog)
        if not pipeline.nodes:  # no error: a scheduler runs each pipeline, in any environment
            left_out = ", ".join(f"{node.name} ({CONDITIONS[node.name]})" for node in whole.nodes)
            logger.warning("The parameters leave out all that was to run: %s", left_out)
        if RemainingRunner.__name__ not in run_params["runner"] and (
            before or len(pipeline.nodes) < len(whole.nodes)
        ):
            raise UserError(
                "A KedroSession runs nodes that this run leaves out. Use kedro run, or in Python "
                "affinitynet.runs.session.RunSession in its place."
            )
        if run_params["only_missing_outputs"]:
            if before:
                pipeline = pipeline.filter(node_names=before.nodes)
            else:
                pipeline = select_unfinished(pipeline, catalog)
        asked = (before.inputs if before else {}) | (run_params["load_versions"] or {})
        own = before.version if before else run_params["run_id"]
        inputs = fix_versions(pipeline, catalog, asked, own=own)
        check_inputs(pipeline, catalog, inputs, asked, env=env)
        check_folders(pipeline, catalog, context.checked.data_set)
        check_device(context.checked.execution)
        nodes = {node.name for node in pipeline.nodes}
        check_packages(nodes, context.checked)
        check_networks(nodes, context.checked)
        indexed = inputs.get(INDEX) or (before.version if before else "")
        again = f"kedro run{env} --pipeline ingestion"
        check_photos(pipeline, catalog, context.records, version=indexed, again=again)
        check_given(pipeline, catalog, context.checked)
        records = read_records(context.records)
        check_data_sets(catalog, inputs, records, context.records, env=env)
        check_outputs(pipeline, catalog, context)
        if MODEL in inputs:
            logger.info(describe_model(inputs[MODEL], records, context.data))
        # what dead processes left half-written; an object store has nothing of the kind
        if "://" not in context.data:
            sweep(context.data)
        for name in pipeline.all_outputs():
            if isinstance(dataset := catalog.get(name), FolderDataset):
                dataset.sweep()
        now = self._describe(run_params, pipeline, catalog, inputs)
        if before is None:
            warn_of_mixed_inputs(inputs, records)
            self._begin(now)
            note_photos(pipeline, catalog, context.records, version=now.version)
            context.record = now
        else:
            if differences := before.differences(now):
                raise UserError(
                    f"The unfinished run {before.version} cannot be resumed: it was another run."
                    + "".join(f"\n  {line}" for line in differences)
                    + "\nRepeat its command, or leave `resume` out to start a new run."
                )
            context.record = replace(before, process=now.process)
            self._reopen_unfinished(before, pipeline, catalog)
        context.record.write(context.records)

    @hook_impl
    def before_node_run(
        self, node: Node, catalog: CatalogProtocol, inputs: dict[str, Any]
    ) -> dict[str, Any] | None:
        """Hand a node of a resumed run only what is left to do."""
        if self._lock:
            self._lock.check()
        self._handle_items(node, catalog)
        resumed = self.context.resumed
        if resumed is None or not node.tags & {PER_IMAGE, TRAINING}:
            return None
        # the last output: what it has of an image is saved after all the others
        done = catalog[node.outputs[-1]].done(since=resumed.started)
        if not done:
            return None
        driving = node.inputs[0]
        if TRAINING in node.tags:
            logger.info("%s goes on after epoch %s.", node.name, max(done))
            return {driving: done[max(done)]()}
        left = _without(inputs[driving], done)
        logger.info("%s: %d images are done, %d are left.", node.name, len(done), len(left))
        return {driving: left}

    @hook_impl
    def after_pipeline_run(self) -> None:
        """Close the record."""
        self._scope.close()
        if self.context.record:
            self.context.record.finish().write(self.context.records)
        self._release_lock(remove=True)

    @hook_impl
    def on_pipeline_error(self, pipeline: Pipeline, catalog: CatalogProtocol) -> None:
        """Forget a run that failed before it made anything: there is nothing to resume.

        Any other one can be resumed from now on, though this process may live on.
        """
        self._scope.close()
        self._abandon(catalog)

    def _abandon(self, catalog: CatalogProtocol) -> None:
        record = self.context.record
        empty = record and not any(is_begun(catalog, name) for name in record.outputs)
        if record and empty:
            record.forget(self.context.records)
            forget_photos(self.context.records, version=record.version)
        self._release_lock(remove=bool(empty))

    def _begin(self, run: RunRecord) -> None:
        """Lock a new run."""
        try:
            self._lock = acquire(self.context.records, run.version)
        except IsHeldError as error:
            raise UserError(
                f"Another run began in the same moment, {run.version}. Repeat the command."
            ) from error

    def _take_over(self, run: RunRecord) -> RunRecord:
        """Lock the run that is resumed; return its record as it was left by who had the lock."""
        try:
            self._lock = acquire(self.context.records, run.version)
        except IsHeldError as error:
            host, pid = (run.process.split() or ["another host", "?"])[:2]
            raise UserError(
                f"resume=true: the run {run.version} is still going on, in the process {pid} of "
                f"{host}. Wait for its end, or end it."
            ) from error
        run = read_record(self.context.records, run.version)
        if run.finished:
            raise UserError(
                f"resume=true: another process has just finished the run {run.version}."
            )
        return run

    def _release_lock(self, *, remove: bool = False) -> None:
        if self._lock:
            self._lock.release(remove=remove)
            self._lock = None

    def _handle_items(self, node: Node, catalog: CatalogProtocol) -> None:
        """Note in the record what a node skips, not what it skipped when it ran before.

        Let its workers save the images of its one output by themselves.
        """
        skipped: list[str] = []

        def note(*images: str) -> None:
            skipped.extend(images)
            if record := self.context.record:
                self.context.record = record.skipping(node.name, *skipped)
                self.context.record.write(self.context.records)

        if self.context.record and node.name in self.context.record.skipped:
            note()
        saver = item_saver(node, catalog) if PER_IMAGE in node.tags else None
        handlers = ItemHandlers(note, saver) if saver else ItemHandlers(note)
        self._scope.close()  # of the node before
        self._scope.enter_context(handle_items(handlers))

    def _describe(
        self,
        run_params: dict[str, Any],
        pipeline: Pipeline,
        catalog: CatalogProtocol,
        inputs: Mapping[str, str],
    ) -> RunRecord:
        return RunRecord(
            version=run_params["run_id"],
            env=self.context.env or "base",
            pipelines=list(run_params["pipeline_names"] or ["__default__"]),
            nodes=sorted(node.name for node in pipeline.nodes),
            parameters=self.context.tracked_params,
            code=code_fingerprint(),
            git=git_revision(self.context.project_path),
            inputs={**inputs, **dict(_fingerprints(pipeline, catalog))},
            outputs=sorted(name for name in pipeline.all_outputs() if versioned(catalog, name)),
            process=f"{socket.gethostname()} {os.getpid()}",
        )

    def _reopen_unfinished(
        self, record: RunRecord, pipeline: Pipeline, catalog: CatalogProtocol
    ) -> None:
        """Let the nodes that are left add to their outputs, or write them again."""
        left = select_unfinished(pipeline, catalog).nodes
        for node in left:
            for name in node.outputs:
                reopen(catalog, name)
        logger.info(
            "Resuming the run %s: %d of its %d nodes are finished. Left: %s.",
            record.version,
            len(pipeline.nodes) - len(left),
            len(pipeline.nodes),
            ", ".join(node.name for node in left) or "nothing",
        )


def warn_of_mixed_inputs(inputs: Mapping[str, str], records: Iterable[RunRecord]) -> None:
    """Warn where the inputs of a run are of runs that do not belong together.

    Args:
        inputs: Name of each versioned input to its version.
    """
    made = {
        record.version: record.inputs | dict.fromkeys(record.outputs, record.version)
        for record in records
    }
    if mixed := [*list_mixed_inputs(inputs, made, pipelines["__default__"])]:
        logger.warning(
            "The inputs are of runs that do not belong together:%s\nTo choose others: "
            "--load-versions <name>:<version>",
            "".join(f"\n  {line}" for line in mixed),
        )


def check_runner(runner: str) -> None:
    """Check that nodes run one after the other: the work on images is spread within them.

    Args:
        runner: How Kedro names it; `None` is a `SequentialRunner`.

    Raises:
        UserError: If the run was to be parallel or asynchronous.
    """
    command = click.get_current_context(silent=True)
    options = command.params if command else {}
    asynchronous = options.get("is_async") or (options.get("runner_params") or {}).get("is_async")
    known = ("None", SequentialRunner.__name__, RemainingRunner.__name__)
    if asynchronous or not any(name in runner for name in known):
        wrong = "--async" if asynchronous else f"--runner={options.get('runner') or runner}"
        raise UserError(
            f"{wrong} is not supported: a run's nodes follow one another, and each uses all cores "
            "and devices anyway. Leave it out; see execution.workers and execution.devices."
        )


def check_inputs(
    pipeline: Pipeline,
    catalog: CatalogProtocol,
    inputs: Mapping[str, str],
    asked: Mapping[str, str],
    *,
    env: str,
) -> None:
    """Check that everything versioned that the pipeline reads has been made.

    Args:
        inputs: The versions that were found.
        asked: The versions that were asked for.
        env: The option of `kedro run` for the environment.

    Raises:
        UserError: Naming each missing input and the command that makes it.
    """
    missing = []
    for name in sorted(pipeline.inputs()):
        dataset = versioned(catalog, name)
        if dataset is not None and name not in inputs:
            makers = [key for key, made in pipelines.items() if name in made.all_outputs()]
            maker = next((key for key in makers if key != "__default__"), None)
            hint = (
                f"make it with: kedro run{env} --pipeline {maker}"
                if maker
                else "no pipeline makes it"
            )
            what = f"no complete version {asked.get(name, '')}".strip()
            missing.append(f"\n  {name}: {what} in {location(dataset)}; {hint}")
    if missing:
        raise UserError("Inputs that are not there:" + "".join(missing))


def check_folders(pipeline: Pipeline, catalog: CatalogProtocol, data_set: DataSet) -> None:
    """Check that the user's photos and masks are where a stage that runs separately looks for them.

    Where `ingestion` runs too, it tells this together with all else.

    Raises:
        UserError: Naming each folder that is missing or empty, and its parameter.
    """
    if any(node.name == "ingestion.inspect" for node in pipeline.nodes):
        return
    layout = LAYOUTS[data_set.layout]
    needed = {"photos": f"{layout.folder}=<path>"}
    if any(_needs_masks(node, data_set) for node in pipeline.nodes):
        needed["masks"] = layout.masks_given
    missing = [
        f"\n  {name}: nothing in {catalog[name].path}; give --params {given}"
        for name, given in needed.items()
        if name in pipeline.inputs()
        and isinstance(catalog[name], FolderDataset)
        and not catalog[name].load()
    ]
    if missing:
        raise UserError("Folders of the data set are missing or empty:" + "".join(missing))


def check_given(pipeline: Pipeline, catalog: CatalogProtocol, parameters: Parameters) -> None:
    """Check class maps, regions and corrected masks that are given, before the first node.

    Corrected masks are looked at here where `ingestion`, whose check needs the index, does not run.

    Raises:
        UserError: If they are not there, or do not fit the photos.
    """
    if "given_maps" in pipeline.inputs() and not catalog.load("given_maps"):
        raise UserError(
            "import_maps reads class maps: give --params maps=<folder>"
            if not parameters.maps
            else f"maps={parameters.maps}: there is no such folder, or it is empty"
        )
    vote = parameters.revision.vote
    if "segments" in pipeline.inputs() and vote.segments not in (None, SLIC):
        if parameters.segments != vote.segments:
            raise UserError("revision.vote.segments: give a folder as --params segments=<folder>")
        if not catalog.load("segments"):
            raise UserError(f"segments={vote.segments}: there is no such folder, or it is empty")
    if parameters.corrected and {"corrected", INDEX, "classes"} <= pipeline.inputs():
        index, classes, corrected = map(catalog.load, (INDEX, "classes", "corrected"))
        check_corrections(index, classes, corrected, parameters.execution)


def check_outputs(pipeline: Pipeline, catalog: CatalogProtocol, context: RunContext) -> None:
    """Check that inference writes over nothing but what it wrote before.

    Raises:
        UserError: Naming the parameter of a folder, and what it holds.
    """
    used = {name for name in OUTPUT_FOLDERS if context.raw_parameters[name]}
    if "coco" in used:  # its scores are means of the confidences
        used.add("confidences")
    outputs = map(catalog.get, sorted(pipeline.all_outputs()))
    folders = [o for o in outputs if isinstance(o, OutputFolderDataset) and o.parameter in used]
    if not folders:
        return
    if "masks" in (context.config_loader.runtime_params or {}):
        raise UserError(
            "--params masks=: it names masks that scores are computed with, which are only read. "
            "inference writes its masks to a folder of its own: --params output=<folder>"
        )
    since = context.resumed.started if context.resumed else None
    images: Any = catalog.get("inference.images")
    begin_outputs(folders, images, since)


def _needs_masks(node: Node, data_set: DataSet) -> bool:
    """Whether the node cannot do without masks: it trains on them, or scores where some must be."""
    must_score = data_set.strict or data_set.masks
    return "masks" in node.inputs and (
        TRAINING in node.tags or ("scoring" in node.tags and bool(must_score))
    )


def _fingerprints(pipeline: Pipeline, catalog: CatalogProtocol) -> Iterator[tuple[str, str]]:
    for name in sorted(pipeline.inputs()):
        dataset = catalog.get(name)
        if isinstance(dataset, OutputFolderDataset):  # of a node that is left out
            continue
        if not isinstance(dataset, FolderDataset | TagsDataset | CorrectedDataset):
            continue
        try:
            fingerprint = dataset.fingerprint()
        except (OSError, DatasetError) as error:
            raise UserError(f"{name}: cannot be read ({why_unreadable(error)})") from error
        if fingerprint != "none":
            yield name, fingerprint


def _without(images: pd.DataFrame | Mapping[str, Any], done: Mapping[str, Any]) -> Any:
    if isinstance(images, pd.DataFrame):
        return images[~images.index.isin(done.keys())]
    return {name: load for name, load in images.items() if name not in done}
