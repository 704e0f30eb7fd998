"""The pipelines as a DAG of Airflow, a task each. Generated, see docs/deploying.md."""

from datetime import datetime, timedelta

from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG, Param

# Each pipeline, and those whose outputs it reads.
PIPELINES: dict[str, list[str]] = {
    "affinity_labels": ["cam", "ingestion", "scenes"],
    "affinity_training": ["affinity_labels", "cam", "ingestion", "scenes"],
    "cam": ["ingestion", "scenes"],
    "export": ["ingestion", "scenes", "segmentation"],
    "ingestion": ["scenes"],
    "reporting": ["affinity_labels", "affinity_training", "cam", "ingestion", "revision", "scenes", "segmentation", "tag_check", "tagged_masks"],
    "revision": ["affinity_training", "cam", "ingestion", "scenes"],
    "scenes": [],
    "segmentation": ["cam", "ingestion", "revision", "scenes"],
    "tag_check": ["ingestion", "scenes"],
    "tagged_masks": ["ingestion", "revision", "scenes", "segmentation"],
}

# In the project's own environment, which has nothing to do with Airflow's. A second try resumes.
COMMAND = """
PATH="$PWD/.venv/bin:$PATH"
exec kedro run --pipeline {{ task.task_id }} --params "resume={{ ti.try_number > 1 }},$PARAMS"
"""

with DAG(
    "affinitynet",
    schedule=None,
    start_date=datetime(2026, 1, 1),
    max_active_runs=1,  # a task reads the newest versions: its own run's, as long as no other run is active
    params={"params": Param("", type="string", description="of kedro run: data=…,seed=1")},
    default_args={"retries": 1, "retry_delay": timedelta(minutes=1)},
):
    tasks = {
        name: BashOperator(
            task_id=name,
            bash_command=COMMAND,
            cwd="{{ var.value.affinitynet }}",  # an Airflow variable: the project's folder
            env={"PARAMS": "{{ params.params }}"},
            append_env=True,
        )
        for name in PIPELINES
    }
    for name, parents in PIPELINES.items():
        tasks[name].set_upstream([tasks[parent] for parent in parents])
