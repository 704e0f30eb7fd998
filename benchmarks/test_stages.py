"""The whole road on few and many images: memory, throughput, bytes on disk, start-up."""

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from conftest import fresh_process, resident

PROJECT = Path(__file__).parents[1]
FEW, MANY = 200, int(os.environ.get("BENCH_IMAGES", "2000"))
STAGES = (
    "scenes",
    "ingestion",
    "cam",
    "affinity_labels",
    "affinity_training",
    "revision",
    "segmentation",
)
OUTPUTS = (
    "cam/maps",
    "affinity_labels/labels",
    "revision/maps",
    "revision/labels",
    "segmentation/predictions",
)


def run_stages(folder: Path, images: int, long_side: int) -> dict[str, tuple[float, float]]:
    """Run the test environment's stages, one after the other, without training.

    Returns:
        Stage to its seconds and the megabytes that this process had at its peak meanwhile.
    """
    from kedro.framework.startup import bootstrap_project

    from affinitynet.runs.session import RunSession

    bootstrap_project(PROJECT)
    size, untrained = {"long_side": long_side}, {"training": {"epochs": 0}}
    parameters = {
        "data": str(folder / "data"),
        "mlflow_db": str(folder / "mlflow.db"),
        "mlflow_artifacts": str(folder / "artifacts"),
        "scenes": {"train": images // 2, "val": images - images // 2, **size},
        "cam": {"inference": size, **untrained},
        "affinity_labels": size,
        "affinity_training": untrained,
        "revision": {"random_walk": size, **size},
        "segmentation": {"inference": size, **untrained},
    }
    figures = {}
    for stage in STAGES:
        Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")  # forget the peak so far
        start = time.perf_counter()
        with RunSession.create(PROJECT, env="test", runtime_params=parameters) as session:
            session.run(pipeline_names=[stage])
        figures[stage] = time.perf_counter() - start, resident("VmHWM")
    return figures


def items(folder: Path, output: str) -> list[Path]:
    """List the files of a per-image output."""
    stage, name = output.split("/")
    return list(folder.glob(f"data/*/test/{stage}/{name}/*/{name}/*"))


@pytest.fixture(scope="module")
def roads(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Any]:
    """The stages' seconds and megabytes at few and at many images."""
    figures = {}
    for images in (FEW, MANY):
        folder = tmp_path_factory.mktemp(str(images))
        with fresh_process() as process:
            figures[images] = process.submit(run_stages, folder, images, 64).result()
        assert len(items(folder, "cam/maps")) == images // 2
        assert len(items(folder, "segmentation/predictions")) == images - images // 2
    return figures


def test_memory(roads: dict[int, Any], benchmark: Any, record: Any) -> None:
    benchmark.pedantic(lambda: None)
    for stage in STAGES:
        seconds, megabytes = roads[MANY][stage]
        _, baseline = roads[FEW][stage]
        record(
            f"{stage}: {MANY:,} images against {FEW}",
            time=seconds,
            memory=megabytes,
            baseline_memory=baseline,
        )


def test_bytes_on_disk(tmp_path: Path, benchmark: Any, record: Any) -> None:
    def run() -> None:
        with fresh_process() as process:
            process.submit(run_stages, tmp_path, 8, 500).result()

    benchmark.pedantic(run)
    for output in OUTPUTS:
        sizes = [path.stat().st_size for path in items(tmp_path, output)]
        assert len(sizes) == 4
        record(f"{output.replace('/', '.')}, 500 px", on_disk=sum(sizes) / len(sizes) / 1000)


KEDRO = ["-m", "kedro"]


@pytest.mark.parametrize(
    ("title", "command"),
    [
        ("python -c 'import affinitynet'", ["-c", "import affinitynet"]),
        ("python -c 'import torch'", ["-c", "import torch"]),
        ("kedro registry list", [*KEDRO, "registry", "list"]),
        ("kedro run --pipeline scenes, 2 images", [*KEDRO, "run", "--pipelines", "scenes"]),
    ],
)
def test_start_up(
    title: str, command: list[str], benchmark: Any, record: Any, tmp_path: Path
) -> None:
    if "run" in command:
        told = f"data={tmp_path},mlflow_db={tmp_path}/db,mlflow_artifacts={tmp_path}/artifacts"
        command = [*command, "--env=test", f"--params={told},scenes.train=1,scenes.val=1"]

    def run() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *command], cwd=PROJECT, capture_output=True, text=True, check=False
        )

    finished = benchmark.pedantic(run, rounds=3)
    assert finished.returncode == 0, finished.stderr
    record(f"start-up: {title}", time=benchmark.stats.stats.min)
