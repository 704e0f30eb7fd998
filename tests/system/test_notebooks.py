"""The notebooks run from top to bottom, and are kept without their outputs."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

PROJECT = Path(__file__).parents[2]
FOLDER = PROJECT / "notebooks"


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.ipynb")), ids=lambda path: path.stem)
def test_outputs_are_stripped(path):
    for cell in nbformat.read(path, as_version=4).cells:
        assert not cell.get("outputs"), f"clear the outputs of {path.name}"
        assert cell.get("execution_count") is None, f"clear the outputs of {path.name}"


def execute(notebook, folder):
    there = {"metadata": {"path": folder}}
    NotebookClient(notebook, timeout=1200, startup_timeout=600, resources=there).execute()


@pytest.mark.long
def test_guided_tour_runs_on_a_run_elsewhere(finished_run, tmp_path):
    notebook = nbformat.read(FOLDER / "guided_tour.ipynb", as_version=4)
    loading = next(i for i, cell in enumerate(notebook.cells) if "%load_ext" in cell.source)
    given = ",".join(f"{name}={value}" for name, value in finished_run.parameters().items())
    elsewhere = nbformat.v4.new_code_cell(f"%reload_kedro {PROJECT} --env test --params {given}")
    notebook.cells.insert(loading + 1, elsewhere)
    execute(notebook, tmp_path)  # no project there: the extension finds none of its own


QUICKER = """settings |= {"backbone": "test_resnet", "weights": None, "export": {"onnx": None}}
for stage in ("cam", "affinity_training", "segmentation"):
    settings[stage]["training"]["least_steps"] = 0"""


@pytest.mark.long
def test_your_own_photos_runs(tmp_path, monkeypatch):
    monkeypatch.setenv("KEDRO_ENV", "test")  # whose parameters are the default's then
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    notebook = nbformat.read(FOLDER / "your_own_photos.ipynb", as_version=4)
    settings = next(i for i, cell in enumerate(notebook.cells) if "settings = {" in cell.source)
    notebook.cells.insert(settings + 1, nbformat.v4.new_code_cell(QUICKER))
    execute(notebook, FOLDER)
