"""Settings of a process of `kedro run`. Calls of the library leave their process as it is."""

import os
import warnings

from affinitynet.datasets.atomic import register_atomic_file_systems

ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",  # nothing phones home; Kedro's consent lies in .telemetry
    "DO_NOT_TRACK": "1",
    "MLFLOW_LOGGING_LEVEL": "WARNING",  # its database migrations log a lot
}
"""Environment variables, unless they are set; MLflow reads them when it is imported."""


def configure_process() -> None:
    """Set up this process for Kedro's sessions: environment, warnings, atomic writes."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    # Stages read each other's outputs (`cam.maps`) by their namespaced names, on purpose.
    warnings.filterwarnings("ignore", message=r"One or more dataset names contain '.' characters")
    warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")  # torch's
    # A run that would read another version than it has made ends here, instead of going on with it.
    warnings.filterwarnings("error", message="Save version '.*' did not match load version")
    register_atomic_file_systems()
