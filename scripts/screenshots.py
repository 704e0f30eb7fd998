"""Make the pictures of docs/seeing.md from the newest run of the base environment.

    kedro run && make screenshots

Chromium and chromedriver are needed (Debian: apt install chromium chromium-driver).
"""

import json
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path

from PIL import Image
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import Select, WebDriverWait

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


def shoot_gallery(browser: webdriver.Chrome) -> None:
    """Picture the newest gallery: in a wide window, on a phone, and one picture large."""
    pages = sorted(PROJECT.glob("data/08_reporting/scenes/gallery/*/index.html"))
    if not pages:
        sys.exit("There is no gallery in data/08_reporting/scenes; make one with: kedro run")
    view(browser, 1280, 1000, "light")
    browser.get(pages[-1].resolve().as_uri())
    WebDriverWait(browser, 20).until(lambda _: browser.find_elements(By.CLASS_NAME, "panels"))
    shoot(browser, "gallery")
    view(browser, 360, 780, "dark", scale=1.5)
    sort = Select(browser.find_element(By.ID, "sort"))
    sort.select_by_visible_text("helped most by the walk")
    browser.execute_script("document.querySelector('article:not([hidden])').scrollIntoView()")
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


if __name__ == "__main__":
    with chromium() as browser:
        shoot_gallery(browser)
        shoot_graph(browser)
