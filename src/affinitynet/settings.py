"""Kedro's settings of the project, see https://docs.kedro.org/en/stable/configure/."""

from affinitynet.runs.process import configure_process

configure_process()  # before MLflow is imported

from affinitynet.runs.context import RunContext  # noqa: E402
from affinitynet.runs.hooks import RunHooks  # noqa: E402
from affinitynet.runs.tracking import RunTracking, TrackingHooks  # noqa: E402

CONTEXT_CLASS = RunContext
HOOKS = (RunHooks(), TrackingHooks(), RunTracking())  # the last one comes first
DISABLE_HOOKS_FOR_PLUGINS = ("kedro-mlflow", "kedro_mlflow")  # RunTracking is in their place

# An environment changes single values of the base's, not whole blocks.
CONFIG_LOADER_ARGS = {
    "base_env": "base",
    "default_run_env": "local",
    "merge_strategy": {"parameters": "soft", "globals": "soft", "mlflow": "soft"},
}
