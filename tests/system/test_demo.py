"""The try-out: what it computes, and its page in a browser."""

import shutil
import socket
import subprocess
import sys
import time
from urllib.request import urlopen

import numpy as np
import pytest
from PIL import Image

import affinitynet
from affinitynet.core.images import to_rgb
from affinitynet.demo.stages import TrainedStages, find_disagreement, newest_parameters, unite
from affinitynet.errors import UserError
from affinitynet.model import Prediction
from affinitynet.runs.record import RunRecord
from tests.conftest import PROJECT

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
FLAGS = (
    "--headless=new --no-sandbox --disable-gpu --disable-quic --no-first-run "
    "--disable-background-networking --disable-component-update --disable-sync"
)


@pytest.fixture(scope="module")
def photo(finished_run):
    """A training photo: its id, its tags, the photo."""
    catalog = finished_run.catalog()
    index = catalog.load("index")
    image_id = index.index[index["split"] == "train"][0]
    tags = index.loc[image_id, "tags"].split("|")
    return image_id, tags, to_rgb(catalog.load("photos")[image_id]())


def test_a_training_photo_gives_what_the_run_stored(finished_run, photo):
    image_id, tags, image = photo
    stages = TrainedStages.of_project(PROJECT, env="test", params=finished_run.parameters())
    steps = stages.revise(image, stages.activate(image, tags))
    catalog = finished_run.catalog()
    assert steps.names == tags
    np.testing.assert_allclose(steps.cams, catalog.load("cam.maps")[image_id]().maps, atol=2e-3)
    np.testing.assert_array_equal(steps.labels, catalog.load("revision.labels")[image_id]())
    model = affinitynet.load(finished_run.data)
    np.testing.assert_array_equal(stages.segment(image).mask, model.predict(image).mask)
    likely = stages.classify(image)
    assert [*likely] == [*catalog.load("classes")]
    assert all(0 <= share <= 1 for share in likely.values())


def run_of(env, alpha, *outputs, finished="2026-01-01"):
    return RunRecord(
        version="2026-01-31T12.00.00.000Z",
        env=env,
        pipelines=[],
        nodes=[],
        parameters={"revision.random_walk.alpha": alpha, "data": "elsewhere", "seed": 3},
        code="",
        git="",
        inputs={},
        outputs=[*outputs],
        finished=finished,
    )


def test_the_newest_run_says_environment_and_parameters():
    both = "revision.labels", "segmentation.model"
    records = [
        run_of("base", 1, *both, finished=None),
        run_of("tagged", 2, "revision.labels"),
        run_of("tagged", 3, *both),
        run_of("base", 4, *both),
    ]
    assert newest_parameters(records, None) == (
        "tagged",
        {"revision": {"random_walk": {"alpha": 2}}},
    )
    assert newest_parameters(records, "base")[1] == {"revision": {"random_walk": {"alpha": 4}}}
    assert newest_parameters(records, "voc") == ("voc", {})
    assert newest_parameters([], None) == (None, {})
    given = {"revision": {"random_walk": {"alpha": 9}}, "data": "here"}
    made_with = {"revision": {"random_walk": {"alpha": 2, "beta": 8}}}
    assert unite(made_with, given) == {
        "revision": {"random_walk": {"alpha": 9, "beta": 8}},
        "data": "here",
    }


def test_a_mask_without_what_the_classifier_is_sure_of_is_reported():
    classes, photo = {"background": 0, "cat": 1, "dog": 2}, Image.new("RGB", (3, 2))
    empty = Prediction(np.zeros((2, 3), np.uint8), np.ones((2, 3), np.float32), classes, photo)
    assert "sure of dog (97%). All of the mask is background" in find_disagreement(
        {"cat": 0.2, "dog": 0.97}, empty
    )
    assert find_disagreement({"cat": 0.2, "dog": 0.8}, empty) == ""
    cat = Prediction(np.ones((2, 3), np.uint8), np.ones((2, 3), np.float32), classes, photo)
    assert find_disagreement({"cat": 0.99, "dog": 0.2}, cat) == ""
    assert "sure of dog" in find_disagreement({"cat": 0.99, "dog": 0.95}, cat)


def test_without_a_run_it_says_how_to_make_one(tmp_path):
    with pytest.raises(UserError, match=r"no trained network of cam yet.*kedro run --env test"):
        TrainedStages.of_project(PROJECT, env="test", params={"data": str(tmp_path)})


@pytest.fixture
def page(finished_run, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    runtime_params = ",".join(
        f"{name}={value}" for name, value in finished_run.parameters().items()
    )
    script = PROJECT / "src/affinitynet/demo/page.py"
    command = [sys.executable, "-m", "streamlit", "run", script, "--server.headless", "true"]
    log = (tmp_path / "log").open("w")
    server = subprocess.Popen(
        [*command, "--server.port", str(port), "--", "--env", "test", "--params", runtime_params],
        cwd=PROJECT,
        stdout=log,
        stderr=log,
    )
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(1000):
            try:
                urlopen(f"{address}/_stcore/health", timeout=5).close()
                break
            except OSError:
                time.sleep(0.2)
        else:
            pytest.fail((tmp_path / "log").read_text())
        yield address
    finally:
        server.kill()
        server.wait()


@pytest.mark.long
@pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="chromium and chromedriver are not installed")
def test_a_photo_that_is_dropped_shows_its_way(page, photo, finished_run, tmp_path):
    classes = finished_run.catalog().load("classes")
    (tmp_path / "notes.txt").write_text("no photo")
    photo[2].save(tmp_path / "photo.png")
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (*FLAGS.split(), f"--user-data-dir={tmp_path}/chromium"):
        options.add_argument(flag)
    options.add_argument("--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1")
    browser = webdriver.Chrome(options, webdriver.ChromeService(DRIVER))
    try:
        wait = WebDriverWait(browser, 300)

        def drop(name):
            browser.get(page)
            wait.until(lambda _: browser.find_elements(By.CSS_SELECTOR, "input[type=file]"))
            upload = browser.find_element(By.CSS_SELECTOR, "input[type=file]")
            upload.send_keys(str(tmp_path / name))

        def text():
            return browser.find_element(By.TAG_NAME, "body").text

        drop("notes.txt")
        wait.until(lambda _: "notes.txt: " in text() and "Pillow" in text())
        drop("photo.png")
        wait.until(lambda _: "Prediction" in text() and "Tags, at first" in text())
        pills = browser.find_elements(
            By.CSS_SELECTOR, "[data-testid=stPills] button, [data-testid=stButtonGroup] button"
        )
        assert len(pills) == len(classes)
        if "Choose a tag" in text():
            pills[0].click()
        wait.until(lambda _: "Pseudo labels" in text())
        wait.until(lambda _: len(browser.find_elements(By.CSS_SELECTOR, "img")) >= 5)
    finally:
        browser.quit()
