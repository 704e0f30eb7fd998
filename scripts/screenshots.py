"""Make the pictures of the docs from the newest runs of the base environment.

    kedro run && kedro run --from-nodes revision.walk --params revision.random_walk.alpha=8
    make screenshots

Chromium and chromedriver are needed (Debian: apt install chromium chromium-driver).
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from urllib.request import urlopen

import mlflow
from PIL import Image
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

PROJECT = Path(__file__).parents[1]
PICTURES = PROJECT / "docs/images"
SITE = PROJECT / "build"
"""Where `kedro viz build` puts its static site."""

FLAGS = (
    "--headless=new --no-sandbox --disable-gpu --disable-quic --no-first-run --hide-scrollbars "
    "--disable-background-networking --disable-component-update --disable-sync"
)
OFFLINE = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"


@contextmanager
def chromium() -> Iterator[webdriver.Chrome]:
    """Run a browser that reaches this machine alone."""
    programs = {name: shutil.which(name) for name in ("chromium", "chromedriver")}
    if missing := [name for name, path in programs.items() if not path]:
        sys.exit(f"Not installed: {', '.join(missing)}")
    with tempfile.TemporaryDirectory() as profile:
        options = webdriver.ChromeOptions()
        options.binary_location = programs["chromium"]
        for flag in (*FLAGS.split(), OFFLINE, f"--user-data-dir={profile}"):
            options.add_argument(flag)
        browser = webdriver.Chrome(options, webdriver.ChromeService(programs["chromedriver"]))
        try:
            yield browser
        finally:
            browser.quit()


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serve a folder on the loopback interface."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=folder))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()


def view(browser: webdriver.Chrome, width: int, height: int, theme: str, scale: float = 1) -> None:
    """Set the window's size in CSS pixels, the theme, and the screen's pixels for each of them."""
    size = {"width": width, "height": height, "deviceScaleFactor": scale, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    feature = {"name": "prefers-color-scheme", "value": theme}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})


def shoot(browser: webdriver.Chrome, name: str) -> None:
    """Save the window."""
    time.sleep(1)  # until animations have ended
    image = Image.open(BytesIO(browser.get_screenshot_as_png())).convert("RGB")
    path = PICTURES / f"{name}.png"
    image.save(path, optimize=True)
    print(f"{path.relative_to(PROJECT)}: {path.stat().st_size // 1024} kB")


def shoot_gallery(browser: webdriver.Chrome, version: str) -> None:
    """Picture a run's gallery: in a wide window and on a phone."""
    page = PROJECT / f"data/08_reporting/scenes/gallery/{version}/index.html"
    if not page.exists():
        sys.exit(f"There is no {page}; make one with: kedro run")
    view(browser, 1280, 1000, "light")
    browser.get(page.as_uri())
    WebDriverWait(browser, 20).until(lambda _: browser.find_elements(By.CLASS_NAME, "panels"))
    shoot(browser, "gallery")
    view(browser, 360, 780, "dark", scale=1.5)
    # the form is folded on a phone
    browser.execute_script(
        """const sort = document.getElementById("sort");
        sort.value = "helped";
        sort.dispatchEvent(new Event("input", { bubbles: true }));
        document.querySelector("article:not([hidden])").scrollIntoView();"""
    )
    shoot(browser, "gallery_phone")


def shoot_graph(browser: webdriver.Chrome) -> None:
    """Picture the lineage graph in Kedro-Viz, the stages as boxes, from left to right.

    Data that no stage reads are switched off, as the sidebar does it; the whole is too wide.
    """
    subprocess.run(
        [sys.executable, "-m", "kedro", "viz", "build", "--include-previews"],
        cwd=PROJECT,
        check=True,
        stdout=subprocess.DEVNULL,
    )
    graph = json.loads((SITE / "api/main").read_text())
    report = {
        node["id"]
        for node in graph["nodes"]
        if node["id"] == "reporting"
        or (node["type"] == "task" and "reporting" in (node["modular_pipelines"] or ()))
    }
    read = {edge["source"] for edge in graph["edges"] if edge["target"] not in report}
    unread = {
        node["id"]: True
        for node in graph["nodes"]
        if node["id"] in report or (node["type"] == "data" and node["id"] not in read)
    }
    view(browser, 2000, 420, "light", scale=1.5)
    turn = (By.CLASS_NAME, "pipeline-menu-button--orientation")
    with served(SITE) as url:
        browser.get(url)
        WebDriverWait(browser, 60).until(lambda _: browser.find_elements(*turn))
        time.sleep(3)  # until it has laid out the graph and stored its settings
        settings = {
            "theme": "light",
            "showFeatureHints": False,
            "node": {"disabled": unread},
            "visible": {"graph": True, "sidebar": False, "miniMap": False},
        }
        browser.execute_script(
            """const old = JSON.parse(localStorage.getItem("KedroViz") ?? "{}");
            localStorage.setItem("KedroViz", JSON.stringify({ ...old, ...arguments[0] }));""",
            settings,
        )
        browser.refresh()
        WebDriverWait(browser, 60).until(lambda _: browser.find_elements(*turn))
        time.sleep(3)
        for button in (turn, (By.CLASS_NAME, "pipeline-minimap-button--reset")):
            browser.execute_script("arguments[0].click()", browser.find_element(*button))
            time.sleep(2)
        shoot(browser, "kedro_viz")


@contextmanager
def tracking_server(store: Path) -> Iterator[str]:
    """Serve MLflow's pages on the loopback interface."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "server", "--workers", "1", "--port", str(port)]
    server = subprocess.Popen(
        [*command, "--host", "127.0.0.1", "--backend-store-uri", f"sqlite:///{store}"],
        env=os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    url = f"http://127.0.0.1:{port}"
    try:
        while server.poll() is None:
            with suppress(OSError):
                urlopen(f"{url}/health").close()
                break
            time.sleep(0.5)
        yield url
    finally:
        os.killpg(server.pid, signal.SIGTERM)


def shoot_runs(browser: webdriver.Chrome, store: Path) -> str:
    """Picture a whole run in MLflow, the newest run below it, and both compared.

    Returns:
        The whole run's version.
    """
    mlflow.set_tracking_uri(f"sqlite:///{store}")
    runs = mlflow.search_runs(experiment_names=["affinitynet"])
    below = runs[runs["tags.mlflow.parentRunId"].notna()] if len(runs) > 1 else runs[:0]
    if below.empty:
        sys.exit("MLflow has no run that starts from another's outputs; see this script's head")
    experiment, child, parent = below.iloc[0][
        ["experiment_id", "run_id", "tags.mlflow.parentRunId"]
    ]
    runs_page = f"experiments/{experiment}/runs?compareRunsMode=TABLE&workflowType=machine_learning"
    both = f'compare-runs?runs=["{parent}","{child}"]&experiments=["{experiment}"]'
    state = f'MLflowLocalStorage-1.1-ExperimentPage-["{experiment}"]-ReactComponentState'
    scores = ("revision.random_walk_miou", "revision.pseudo_label_miou", "segmentation.miou")
    columns = [f"metrics.`{score}`" for score in scores] + ["params.`revision.random_walk.alpha`"]
    with tracking_server(store) as url:

        def open_page(page: str, width: int, height: int) -> None:
            view(browser, width, height, "light")
            browser.get(f"{url}/#/{page}")
            time.sleep(6)  # until its tables are filled

        open_page(runs_page, 1400, 400)
        # MLflow's assistant is shut; runs below others and scores are shown.
        browser.execute_script(
            """localStorage.setItem("mlflow.assistant.panelOpen_v1", "false");
            const state = JSON.parse(localStorage.getItem(arguments[0]));
            state.selectedColumns = arguments[1];
            state.runsExpanded = { [arguments[2]]: true };
            localStorage.setItem(arguments[0], JSON.stringify(state));""",
            state,
            columns,
            parent,
        )
        browser.get("about:blank")
        open_page(runs_page, 1400, 400)
        shoot(browser, "mlflow_runs")
        open_page(
            f"experiments/{experiment}/runs/{parent}?workflowType=machine_learning", 1200, 1150
        )
        shoot(browser, "mlflow_run")
        open_page(both, 1200, 700)
        for switch in browser.find_elements(By.CSS_SELECTOR, "[aria-label$='Show diff only']"):
            if switch.get_attribute("aria-checked") != "true":
                browser.execute_script("arguments[0].click()", switch)
        first = browser.find_element(By.CSS_SELECTOR, "[aria-label^='Parameters - ']")
        browser.execute_script("arguments[0].scrollIntoView()", first)
        shoot(browser, "mlflow_compare")
    return str(mlflow.get_run(parent).data.tags["version"])


if __name__ == "__main__":
    with chromium() as browser:
        shoot_gallery(browser, shoot_runs(browser, PROJECT / "mlflow.db"))
        shoot_graph(browser)
