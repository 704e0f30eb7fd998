"""What a run reports of itself: in the titles of its pages, and at its end on the terminal."""

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from kedro.config import OmegaConfigLoader
from kedro.framework.hooks import hook_impl
from kedro.io import CatalogProtocol, MemoryDataset
from kedro_viz.integrations.kedro.run_hooks import pipeline_run_hook
from rich import get_console

from affinitynet.pipelines.description import RunDescription
from affinitynet.runs.configuration import Configuration
from affinitynet.runs.context import RunContext
from affinitynet.runs.parameters import RESOLVERS
from affinitynet.runs.provenance import run_address
from affinitynet.runs.record import RunRecord, flatten
from affinitynet.runs.times import by_stage, format_seconds
from affinitynet.runs.versions import locate_version, read_version, versioned

logger = logging.getLogger(__name__)

SHARED = ("backbone", "weights", "heads", "working_size")
"""Runtime parameters that others follow."""

RUN = "run"
"""The catalog's entry that describes the run."""

SCORES = {
    "val_map": ("cam.tag_metrics", "val_map", "classifier: mean average precision, val"),
    "cam": ("cam.metrics", "miou", "CAM: mIoU, train"),
    "coverage": ("affinity_labels.metrics", "coverage", "affinity labels: coverage, train"),
    "accuracy": ("affinity_labels.metrics", "accuracy", "affinity labels: accuracy, train"),
    "walk": ("revision.metrics", "random_walk_miou", "random walk: mIoU, train"),
    "pseudo": ("revision.metrics", "pseudo_label_miou", "pseudo labels: mIoU, train"),
    "segmentation": ("segmentation.metrics", "miou", "segmentation network: mIoU, val"),
    "within": ("tagged_masks.metrics", "network_miou", "network within the tags: mIoU, train"),
}
"""Entry, name and title of each score in the closing table."""

HARM = (
    (
        *("cam", "walk", "The random walk"),
        "raise revision.random_walk.alpha where objects vanish, lower it where they spill over",
    ),
    ("walk", "pseudo", "The dense CRF", "lower revision.crf.sxy_bilateral"),
)
"""Score before and after a step that should raise it, the step, and what to try."""

RESULTS = {
    "ingestion.page": "data report",
    "tag_check.suspects": "tags to check",
    "reporting.gallery": "gallery",
    "revision.labels": "pseudo labels",
    "segmentation.predictions": "predicted masks, val",
    "tagged_masks.predictions": "masks of all tagged photos",
    "tagged_masks.quality": "photos to look at first",
    "segmentation.model": "model",
    "export.model": "exported model",
    "search.best": "best parameters",
    "inference.summary": "classes and confidence",
    "labels_export.voc_labels": "exported labels",
    "labels_export.coco_annotations": "exported labels",
    "labels_export.label_studio_tasks": "exported labels",
}
"""Entries of the results that people look for, and their titles in the closing table."""

PAGES = ("ingestion.page", "reporting.gallery")

NEXT = {
    "segmentation.model": (
        'kedro run --pipeline inference --params "images=<folder>,output=<new folder>"',
        "make demo",
    ),
    "cam.metrics": ("make mlflow",),
}
"""Commands that follow on an entry."""


class RunSummary:
    """Describe the run for its pages, and close it with its scores, paths and next commands."""

    @hook_impl
    def after_context_created(self, context: RunContext) -> None:
        """Keep the context."""
        self.context = context

    @hook_impl
    def after_catalog_created(self, catalog: CatalogProtocol, save_version: str | None) -> None:
        """Put the run's description into the catalog."""
        description = describe_run(self.context, save_version or "")
        catalog[RUN] = MemoryDataset(description, metadata={"kedro-viz": {"layer": "data set"}})

    @hook_impl(trylast=True)
    def before_pipeline_run(self, run_params: dict[str, Any], catalog: CatalogProtocol) -> None:
        """Describe a resumed run by its own version, now that it is known.

        Keep partial runs from Kedro-Viz's Workflow page, which can show whole ones only.
        Kedro-Viz 12.5 looks for the pipeline's name where Kedro 1.7 no longer has it, and takes
        every run of a pipeline for one of the default pipeline.
        """
        if self.context.resumed:
            self.after_catalog_created(catalog, self.context.resumed.version)
        if run_params.get("pipeline_names"):
            pipeline_run_hook._should_collect_events = False

    @hook_impl
    def after_pipeline_run(self, catalog: CatalogProtocol) -> None:
        """Print scores, results and the next commands, and warn of a step that harms."""
        record = self.context.record
        if record is None:
            return
        scores = dict(read_scores(record, catalog))
        results = dict(list_results(record, catalog))
        if scores or results:
            commands = list_commands(record, self.context.project_path)
            address = run_address(record.mlflow_run) if record.mlflow_run else None
            text = closing_lines(record, scores, results, commands, address)
            get_console().print(text, soft_wrap=True, markup=False, highlight=False)
        for warning in list_warnings(scores):
            logger.warning(warning)


def describe_run(context: RunContext, version: str) -> RunDescription:
    """Describe the run that a context is of."""
    parameters = flatten(context.raw_parameters)
    loader = context.config_loader
    given = flatten(loader.runtime_params or {})
    texts = Configuration(loader).texts("base")
    default = _defaults(loader.conf_source, (), *texts)
    shared = tuple((name, given[name]) for name in SHARED if name in given)
    followed = _defaults(loader.conf_source, shared, *texts)
    differing = {
        name: value
        for name, value in parameters.items()
        if value != default.get(name) and not _is_hidden(name, value)
    }
    return RunDescription(
        version=version,
        env=context.env or "base",
        data_set=name_data_set(context.raw_parameters),
        given={name: differing[name] for name in given if name in differing},
        configured={
            name: value
            for name, value in differing.items()
            if name not in given and value != followed.get(name)
        },
    )


@lru_cache(maxsize=2)  # parsing takes a third of a second, and seeds are runs of one process
def _defaults(conf_source: str, given: tuple[tuple[str, Any], ...], *_: str) -> dict[str, Any]:
    """Read the parameters of the environment `base`, flat.

    Args:
        conf_source: Folder or archive of the configuration.
        given: Runtime parameters that others follow.
        _: The content of its files: where it has changed, they are parsed again.
    """
    loader = OmegaConfigLoader(
        conf_source,
        base_env="base",
        default_run_env="base",
        runtime_params=dict(given),
        custom_resolvers=RESOLVERS,
    )
    return flatten(loader["parameters"])


def _is_hidden(name: str, value: Any) -> bool:
    """Whether a parameter says where and how the run was made, rather than what it made."""
    block = name.partition(".")[0]
    is_path = isinstance(value, str) and "/" in value
    return is_path or block in ("data", "execution", "resume") or block.startswith("mlflow_")


def name_data_set(parameters: Mapping[str, Any]) -> str:
    """Name the data set of a run's nested parameters by its folder."""
    if parameters["scenes"]:
        return "rendered scenes"
    layout = parameters["data_set"]["layout"]
    return Path(parameters["images" if layout == "tagged" else "voc_root"]).name


def read_scores(record: RunRecord, catalog: CatalogProtocol) -> Iterator[tuple[str, float]]:
    """Read the scores that a run has made, and those of the CAMs that it began with.

    Yields:
        Keys of `SCORES` and the values.
    """
    for key, (entry, name, _) in SCORES.items():
        is_made = entry in record.outputs
        version = record.version if is_made else record.inputs.get("cam.maps")
        dataset: Any = catalog.get(entry)
        if version and (is_made or key == "cam") and versioned(catalog, entry):
            scores = json.loads(read_version(dataset, version) or "{}")
            if name in scores:
                yield key, float(scores[name])


def list_results(record: RunRecord, catalog: CatalogProtocol) -> Iterator[tuple[str, str]]:
    """List the entries of a run's results, and where they lie."""
    for entry in RESULTS:
        dataset = versioned(catalog, entry) if entry in record.outputs else None
        if dataset is not None:
            path = locate_version(dataset, record.version)
            yield entry, str(path / "index.html" if entry in PAGES else path)


def list_warnings(scores: Mapping[str, float]) -> Iterator[str]:
    """Say which step lowers the score of the one before it.

    Args:
        scores: By the keys of `SCORES`.
    """
    for before, after, step, advice in HARM:
        if before in scores and after in scores and scores[after] < scores[before]:
            yield (
                f"{step} lowers the mIoU on train from {scores[before]:.3f} "
                f"to {scores[after]:.3f}. The gallery shows where; {advice}, or find better "
                "values with: kedro run --pipeline search"
            )


def list_times(record: RunRecord) -> list[tuple[str, str]]:
    """Say how long each stage and all of them took, beside what was expected."""
    estimated = by_stage(record.estimated)
    taken = by_stage({name: record.seconds.get(name, 0.0) for name in record.estimated})
    rows = [(f"time: {stage}", estimated[stage], taken[stage]) for stage in estimated]
    if len(rows) > 1:
        rows.append(("time: all of these", sum(estimated.values()), sum(taken.values())))
    return [
        (title, f"{format_seconds(took)}, expected {format_seconds(expected)}")
        for title, expected, took in rows
    ]


def list_commands(record: RunRecord, project: Path) -> list[str]:
    """List the commands that follow on what a run has made.

    Args:
        project: Its folder: without a project in it, `affinitynet run` is the command, and without
            a Makefile there is no `make`.
    """
    following = [one for entry, some in NEXT.items() if entry in record.outputs for one in some]
    run = "kedro run" if (project / "pyproject.toml").exists() else "affinitynet run"
    option = "" if record.env == "base" else f" --env {record.env}"
    return [
        command.replace("kedro run", f"{run}{option}")
        for command in following
        if not command.startswith("make ") or (project / "Makefile").exists()
    ]


def closing_lines(
    record: RunRecord,
    scores: Mapping[str, float],
    results: Mapping[str, str],
    commands: Sequence[str],
    address: str | None = None,
) -> str:
    """Lay out what a run has made, one line each: paths stay whole, to be copied.

    Args:
        address: Where MLflow shows the run.
    """
    blocks = (
        [(SCORES[key][2], f"{value:.3f}") for key, value in scores.items()],
        [(RESULTS[entry], path) for entry, path in results.items()]
        + ([("in MLflow", address)] if address else []),
        list_times(record),
        [("" if number else "next", command) for number, command in enumerate(commands)],
    )
    width = max((len(title) for block in blocks for title, _ in block), default=0)
    lines = [f"Run {record.version}, environment {record.env}"]
    for block in filter(None, blocks):
        lines += ["", *(f"  {title:<{width}}  {value}" for title, value in block)]
    return "\n".join(lines)
