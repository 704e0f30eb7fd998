"""Kedro's settings of the project, see https://docs.kedro.org/en/stable/configure/."""

import warnings

import affinitynet.datasets  # noqa: F401  (makes local writes atomic)
from affinitynet.runs.context import RunContext
from affinitynet.runs.hooks import RunHooks
from affinitynet.runs.tracking import RunTracking, TrackingHooks

CONTEXT_CLASS = RunContext
HOOKS = (RunHooks(), TrackingHooks(), RunTracking())  # the last one comes first
DISABLE_HOOKS_FOR_PLUGINS = ("kedro-mlflow", "kedro_mlflow")  # RunTracking is in their place

# An environment changes single values of the base's, not whole blocks.
CONFIG_LOADER_ARGS = {
    "base_env": "base",
    "default_run_env": "local",
    "merge_strategy": {"parameters": "soft", "globals": "soft", "mlflow": "soft"},
}

# A run that would read another version than it has made ends here, instead of going on with it.
warnings.filterwarnings("error", message="Save version '.*' did not match load version")
