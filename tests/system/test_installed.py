"""The package where no checkout is: from a wheel, in an empty folder, in a project of its own."""

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from affinitynet.__main__ import PROJECT as CARRIED
from affinitynet.__main__ import main
from tests.conftest import PROJECT

SOURCES = ("src", "conf", "data/README.md", "notebooks", ".telemetry", ".gitignore")
BUILT_FROM = (*SOURCES, "pyproject.toml", "README.md", "LICENSE")


@pytest.fixture
def run(monkeypatch, capsys):
    """A command of `affinitynet` in this process: the exit status and the output."""
    monkeypatch.setenv("KEDRO_LOGGING_CONFIG", str(PROJECT / "conf/logging.yml"))

    def run(folder, *arguments):
        monkeypatch.chdir(folder)
        with pytest.raises(SystemExit) as exit_:
            main(*arguments)
        output = capsys.readouterr()
        return exit_.value.code or 0, output.out + output.err

    return run


def scenes(folder):
    return [*folder.glob("data/01_raw/scenes/*/JPEGImages/*.jpg")]


def test_the_package_carries_all_of_the_configuration_that_is_public():
    ours = {path.name for path in (PROJECT / "conf").iterdir()}
    assert {path.name for path in (CARRIED / "conf").iterdir()} == ours
    assert [path.name for path in (CARRIED / "conf/local").iterdir()] == [".gitkeep"]


def test_an_image_has_what_the_package_links_to():
    let_in = (PROJECT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    links = [path for path in CARRIED.rglob("*") if path.is_symlink()]
    targets = [path.resolve().relative_to(PROJECT) for path in links]
    assert targets
    for target in targets:
        assert any(f"!{each.as_posix()}" in let_in for each in (target, *target.parents))


def test_a_wheel_runs_in_an_empty_folder(tmp_path):
    """Kept apart from this environment's own package by `--target`."""
    source, empty = tmp_path / "source", tmp_path / "empty"
    empty.mkdir()
    for name in BUILT_FROM:
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        if (PROJECT / name).is_dir():
            ignored = shutil.ignore_patterns("*.egg-info", "__pycache__")
            shutil.copytree(PROJECT / name, source / name, symlinks=True, ignore=ignored)
        else:
            shutil.copy(PROJECT / name, source / name)
    (source / "conf/local/credentials.yml").write_text("secret: 1", encoding="utf-8")
    pip = [sys.executable, "-m", "pip", "--quiet"]
    offline = ("--no-deps", "--no-build-isolation")
    subprocess.run([*pip, "wheel", *offline, "--wheel-dir", tmp_path, source], check=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        assert not [name for name in archive.namelist() if "credentials" in name]
        for path in (PROJECT / "conf").rglob("*.yml"):
            if path.parent.name != "local":
                name = f"affinitynet/project/{path.relative_to(PROJECT).as_posix()}"
                assert archive.read(name) == path.read_bytes()
    subprocess.run([*pip, "install", "--no-deps", "--target", tmp_path / "site", wheel], check=True)

    done = subprocess.run(
        [tmp_path / "site/bin/affinitynet", "run", "--env", "test", "--pipeline", "scenes"],
        cwd=empty,
        env=os.environ | {"PYTHONPATH": str(tmp_path / "site")},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert "No Kedro project" not in done.stdout + done.stderr
    assert len(scenes(empty)) == 16
    assert {path.name for path in empty.iterdir()} <= {
        "data",
        "mlflow.db",
        "mlflow.db.lock",
        "mlartifacts",
    }


def test_a_new_project_runs_also_from_its_folders(run, tmp_path):
    status, output = run(tmp_path, "new", "mine")
    assert status == 0, output
    project = tmp_path / "mine"
    assert not [path for path in project.rglob("*") if path.is_symlink()]
    assert {path.name for path in project.iterdir()} == {
        *("conf", "data", "notebooks", "pyproject.toml", ".telemetry", ".gitignore"),
    }
    edited = project / "conf/test/parameters.yml"
    text = edited.read_text(encoding="utf-8").replace("train: 12", "train: 3")
    edited.write_text(text, encoding="utf-8")

    status, output = run(project / "notebooks", "run", "--env", "test", "--pipeline", "scenes")

    assert status == 0, output
    assert len(scenes(project)) == 7
    assert (project / "mlflow.db").exists()
    assert {path.suffix for path in (project / "notebooks").iterdir()} == {".ipynb"}
    assert run(tmp_path, "new", "mine") == (
        1,
        "Error: mine: there is something already; name a new folder\n",
    )


@pytest.mark.parametrize("packed", [False, True])
def test_a_configuration_from_elsewhere(run, tmp_path, packed):
    source = tmp_path / "conf"
    shutil.copytree(PROJECT / "conf", source, ignore=shutil.ignore_patterns("voc*"))
    if packed:  # as `kedro package` does
        source = tmp_path / "conf-affinitynet.tar.gz"
        with tarfile.open(source, "w:gz") as archive:
            archive.add(tmp_path / "conf", "conf")
    empty = tmp_path / "empty"
    empty.mkdir()
    where = ("--conf-source", str(source), "--pipeline", "scenes")

    status, output = run(empty, *where, "--env", "voc")
    assert status == 1
    assert "there is no folder conf/voc; give base, coco, local, tagged, test" in output
    status, output = run(empty, "run", *where, "--env", "test", "--params", "scenes.trian=2")
    assert status == 1
    assert "did you mean scenes.train?" in output
    status, output = run(empty, "run", *where, "--env", "test", "--params", "scenes.train=2")
    assert status == 0, output
    assert len(scenes(empty)) == 6


def test_the_project_of_another_package_is_refused(run, tmp_path):
    (tmp_path / "pyproject.toml").write_text(
        '[tool.kedro]\npackage_name = "json"\nproject_name = "x"\nkedro_init_version = "1.7.0"\n',
        encoding="utf-8",
    )
    (tmp_path / "src").mkdir()
    status, output = run(tmp_path, "run", "--env", "test")
    assert status == 1
    assert "is the project of another package, json" in output


def test_without_a_command_help_is_shown(run, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["affinitynet"])
    output = run(tmp_path)[1]
    assert "new" in output
    assert "run" in output
    assert [*Path(tmp_path).iterdir()] == []
