"""The newest run that has made something, from the records: for `make viz` and `make serve`.

Nothing is imported that takes time.
"""

import json
import sys
from pathlib import Path
from typing import Any


def newest_record(folder: Path, made: str, env: str | None = None) -> dict[str, Any] | None:
    """Read the record of the newest finished run that has made an output.

    Args:
        folder: Of the records, `<data>/08_reporting/runs`.
        made: The output's name in the catalog.
        env: Environment of the run; None for any.
    """
    for path in sorted(folder.glob("*.json"), reverse=True):
        record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if record.get("finished") and made in record["outputs"] and env in (None, record["env"]):
            return record
    return None


def env_option(folder: Path, env: str | None) -> str:
    """Return the option of `kedro` for an environment, by default the newest run's."""
    if env is None and (record := newest_record(folder, "index")):
        env = record["env"]
    return "" if env in (None, "base") else f"--env={env}"


def model_uri(folder: Path, env: str | None) -> str:
    """Return MLflow's address of an environment's newest model, by default of the newest one.

    Raises:
        SystemExit: If the environment has none.
    """
    record = newest_record(folder, "export.model", env)
    if record and record["mlflow_run"]:
        return f"runs:/{record['mlflow_run']}/export_model"
    option = f" --env {env}" if env else ""
    raise SystemExit(f"There is no exported model in {folder.parents[1]}: kedro run{option}")


if __name__ == "__main__":
    what, *rest = sys.argv[1:]
    answer = {"option": env_option, "model": model_uri}[what]
    print(answer(Path("data/08_reporting/runs"), rest[0] if rest else None))
