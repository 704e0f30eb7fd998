"""Kedro's settings of the project, see https://docs.kedro.org/en/stable/configure/."""

from affinitynet.runs.startup import Hooks, configure_process, defer_plugin_commands

configure_process()  # before MLflow is imported

from affinitynet.runs.context import RunContext  # noqa: E402
from affinitynet.runs.parameters import RESOLVERS  # noqa: E402
from affinitynet.runs.session import RunSession  # noqa: E402

defer_plugin_commands()

CONTEXT_CLASS = RunContext
SESSION_CLASS = RunSession
HOOKS = Hooks()
DISABLE_HOOKS_FOR_PLUGINS = ("kedro-mlflow", "kedro_mlflow")  # RunTracking is in their place

# An environment changes single values of the base's, not whole blocks.
CONFIG_LOADER_ARGS = {
    "base_env": "base",
    "default_run_env": "local",
    "custom_resolvers": RESOLVERS,
    "merge_strategy": {"parameters": "soft", "globals": "soft", "mlflow": "soft"},
}
