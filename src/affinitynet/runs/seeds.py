"""Mean and spread of scores over seeds: a table, and an MLflow run above those of the seeds."""

import logging
from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Any

import mlflow
import pandas as pd
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID, MLFLOW_RUN_NOTE
from rich import get_console
from rich.table import Table

from affinitynet.runs.tracking import HEADLINES, log_compared, log_metrics

logger = logging.getLogger(__name__)


def compare_seeds(run: Callable[[int], None], seeds: Iterable[int]) -> pd.DataFrame:
    """Run once for each seed, and summarise the runs that finished also if one fails.

    Args:
        run: Runs the pipelines with a seed, tracked by MLflow.

    Returns:
        What `summarise` does, in the order of the stages.
    """
    finished: dict[int, str] = {}
    try:
        for seed in seeds:
            run(seed)
            if tracked := mlflow.last_active_run():
                finished[seed] = tracked.info.run_id
    finally:
        summary = summarise(
            {seed: mlflow.get_run(id_).data.metrics for seed, id_ in finished.items()}
        )
        if finished:
            _track(summary, finished)
            _print(summary)
    return summary


def summarise(scores: dict[int, dict[str, float]]) -> pd.DataFrame:
    """Summarise the scores of several seeds.

    Returns:
        A row for each score that all seeds have: its name `score`, `mean`, `std` (of the sample:
        NaN for one seed), and a column for each seed. The stages' main scores come first.
    """
    table = pd.DataFrame({f"seed {seed}": values for seed, values in scores.items()}).dropna()
    order = {name: position for position, name in enumerate(HEADLINES)}
    table = table.sort_index().sort_index(
        key=lambda names: names.map(lambda name: order.get(name, len(order))), kind="stable"
    )
    statistics = pd.DataFrame({"mean": table.mean(axis=1), "std": table.std(axis=1)})
    return statistics.join(table).rename_axis("score").reset_index()


def _track(summary: pd.DataFrame, runs: dict[int, str]) -> None:
    """Log the summary to an MLflow run of its own, and place the seeds' runs below it."""
    first = mlflow.get_run(next(iter(runs.values())))
    name = f"{len(runs)} seeds of {first.info.run_name}"
    with mlflow.start_run(experiment_id=first.info.experiment_id, run_name=name) as parent:
        log_metrics(dict(zip(summary["score"], summary["mean"], strict=True)))
        deviations = zip(summary["score"] + ".std", summary["std"], strict=True)
        log_metrics({name: value for name, value in deviations if pd.notna(value)})
        log_compared(summary, file="seeds.json")
        mlflow.log_text(summary.to_csv(index=False), "seeds.csv")
        shown = [f"| {row['score']} | {_format(row)} |" for row in _headlines(summary)]
        mlflow.set_tag(MLFLOW_RUN_NOTE, "\n".join(["| score | mean ± std |", "|---|---|", *shown]))
    for run in runs.values():
        mlflow.MlflowClient().set_tag(run, MLFLOW_PARENT_RUN_ID, parent.info.run_id)
    logger.info("Means and standard deviations are metrics of the MLflow run '%s'.", name)


def _print(summary: pd.DataFrame) -> None:
    seeds = [str(name) for name in summary if str(name).startswith("seed ")]
    table = Table("score", "mean ± std", *seeds)
    for row in _headlines(summary):
        table.add_row(row["score"], _format(row), *(f"{row[seed]:.3f}" for seed in seeds))
    get_console().print(table)


def _headlines(summary: pd.DataFrame) -> list[dict[Hashable, Any]]:
    return summary[summary["score"].isin(HEADLINES)].to_dict("records")


def _format(row: Mapping[Hashable, Any]) -> str:
    return f"{row['mean']:.3f} ± {row['std']:.3f}"
