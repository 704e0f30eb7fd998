"""`kedro run` in a process of its own that need not import anything: it is forked from a warm one.

What a run imports takes ten times as long as what a test's run does.
"""

import atexit
import multiprocessing
import os
import subprocess
import sys
from multiprocessing.connection import Connection
from pathlib import Path
from threading import Thread

IMPORTED = (
    "affinitynet.settings",  # first: it sets MLflow's environment
    "affinitynet.pipeline_registry",
    "affinitynet.runs.hooks",
    "affinitynet.runs.summary",
    "affinitynet.runs.times",
    "affinitynet.runs.tracking",
    "affinitynet.networks.backbones",
    "kedro.framework.cli.cli",
    "mlflow.store.tracking.sqlalchemy_store",
    "sklearn.metrics",
    "torch._dynamo",  # torch's optimizers import it
)
PROJECT = Path(__file__).parents[1]
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload([*IMPORTED])


def _run(arguments: list[str], environment: dict[str, str], output: Connection) -> None:
    """Be a process of `kedro`: run it, then what it has registered for its end."""
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(PROJECT)
    os.dup2(output.fileno(), 1)
    os.dup2(output.fileno(), 2)
    from kedro.framework.cli.cli import main

    sys.argv = ["kedro", *arguments]
    try:
        main()
    finally:
        atexit._run_exitfuncs()  # which processes of multiprocessing leave out


class WarmProcess:
    """What tests use of `subprocess.Popen`, for a process of `kedro`."""

    def __init__(self, arguments, *, stdout=subprocess.PIPE):
        """Start it in the project's folder.

        Args:
            arguments: Of `kedro`.
            stdout: An open file for all that it prints, or PIPE for `self.stdout`.
        """
        reader, writer = CONTEXT.Pipe(duplex=False)
        if stdout != subprocess.PIPE:
            os.dup2(stdout.fileno(), writer.fileno())
        self._process = CONTEXT.Process(target=_run, args=(arguments, {**os.environ}, writer))
        self._process.start()
        writer.close()
        self.stdout = os.fdopen(os.dup(reader.fileno()), encoding="utf-8")
        reader.close()
        self.pid = self._process.pid

    @property
    def returncode(self):
        return self._process.exitcode

    def poll(self):
        return self.returncode

    def send_signal(self, number):
        os.kill(self.pid, number)

    def wait(self, timeout=None):
        self._process.join(timeout)
        if self.returncode is None:
            raise subprocess.TimeoutExpired("kedro", timeout)
        return self.returncode

    def communicate(self, timeout=None):
        """All that it prints, once it has ended; read meanwhile, as a full pipe would stop it."""
        printed = []
        reader = Thread(target=lambda: printed.append(self.stdout.read()), daemon=True)
        reader.start()
        self.wait(timeout)
        reader.join(timeout)
        return printed[0], None
