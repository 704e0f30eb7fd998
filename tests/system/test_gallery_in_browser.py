"""The gallery in Chromium: opened from a file, used by mouse and by keyboard."""

import copy
import json
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from affinitynet.pipelines.description import RunDescription
from affinitynet.pipelines.reporting.gallery import Card, Layer, Panel, render
from affinitynet.pipelines.reporting.pictures import data_uri, paint_labels

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select, WebDriverWait

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(
    not (CHROMIUM and DRIVER), reason="chromium and chromedriver are not installed"
)
FLAGS = (
    "--headless=new --no-sandbox --disable-gpu --disable-quic --no-first-run "
    "--disable-background-networking --disable-component-update --disable-sync"
)


@pytest.fixture(scope="module")
def chromium(tmp_path_factory):
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (*FLAGS.split(), f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    browser = webdriver.Chrome(options, webdriver.ChromeService(DRIVER))
    yield browser
    browser.quit()


@pytest.fixture
def browser(chromium):
    """The browser with a desktop's window; what a page does wrong fails the test."""
    resize(chromium, 1280)
    yield chromium
    assert chromium.get_log("browser") == []


@pytest.fixture
def page(browser, finished_run):
    """The gallery of a whole run."""
    (path,) = finished_run.data.glob("08_reporting/test/gallery/*/index.html")
    browser.get_log("performance")
    browser.get(path.as_uri())
    until(browser, lambda: browser.find_elements(By.CSS_SELECTOR, ".panels"))
    return browser


def resize(browser, width):
    size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)


def until(browser, condition):
    return WebDriverWait(browser, 120).until(lambda _: condition())


def visible(browser):
    cards = browser.find_elements(By.CSS_SELECTOR, "article:not([hidden])")
    return [card.get_attribute("id") for card in cards]


def scores(browser, step):
    cards = browser.find_elements(By.CSS_SELECTOR, "article:not([hidden])")
    return [json.loads(card.get_attribute("data-scores"))[step] for card in cards]


def test_the_page_asks_nobody_for_anything(page):
    until(page, lambda: page.execute_script("return document.readyState") == "complete")
    messages = [json.loads(entry["message"])["message"] for entry in page.get_log("performance")]
    sent = [each for each in messages if each["method"] == "Network.requestWillBeSent"]
    schemes = {each["params"]["request"]["url"].split(":")[0] for each in sent}
    assert "file" in schemes
    own_pages = {scheme for scheme in schemes if scheme.startswith("chrome")}  # the browser's
    assert schemes - own_pages <= {"file", "data"}


def test_every_picture_can_be_shown(page):
    pictures = "return [...document.querySelectorAll('article img')]"
    until(page, lambda: page.execute_script(f"{pictures}.every((image) => image.complete)"))
    assert page.execute_script(f"{pictures}.length") > 20
    assert page.execute_script(f"{pictures}.every((image) => image.naturalWidth > 0)")


def test_photos_are_filtered_by_class_and_group(page):
    everything = visible(page)
    tags = {
        card.get_attribute("id"): json.loads(card.get_attribute("data-tags"))
        for card in page.find_elements(By.TAG_NAME, "article")
    }
    offered = [
        one.get_attribute("value") for one in Select(page.find_element(By.ID, "class")).options
    ]
    assert set(offered) - {""} == {tag for some in tags.values() for tag in some}
    Select(page.find_element(By.ID, "class")).select_by_value("owl")
    assert visible(page) == [i for i in everything if "owl" in tags[i]]
    Select(page.find_element(By.ID, "class")).select_by_visible_text("all")
    Select(page.find_element(By.ID, "group")).select_by_visible_text("val")
    assert len(visible(page)) == 2
    assert page.find_element(By.ID, "shown").text == f"2 of {len(everything)} photos"


def test_photos_are_sorted_and_filtered_by_score(page):
    Select(page.find_element(By.ID, "sort")).select_by_visible_text("pseudo labels, worst first")
    found = scores(page, "pseudo_label")
    assert len(found) >= 5
    assert found == sorted(found)
    Select(page.find_element(By.ID, "sort")).select_by_visible_text("CAM, best first")
    found = scores(page, "cam")
    assert found == sorted(found, reverse=True)
    most = page.find_element(By.ID, "most")
    most.send_keys(Keys.HOME)
    assert not visible(page)
    assert page.find_element(By.ID, "none").is_displayed()
    for _ in range(10):
        most.send_keys(Keys.ARROW_RIGHT)
    assert max(scores(page, "pseudo_label")) <= 0.5


def test_the_slider_shows_the_walk_at_each_t(page):
    slider = page.find_element(By.CSS_SELECTOR, "input[data-steps]")
    panels = slider.find_element(By.XPATH, "./ancestor::div[@class='panels']")

    def shown():
        layers = panels.find_elements(By.CSS_SELECTOR, "button [data-t]:not([hidden])")
        return [layer.get_attribute("data-t") for layer in layers]

    assert shown() == ["64", "64"]
    slider.send_keys(Keys.HOME)
    assert shown() == ["0", "0"]
    slider.send_keys(Keys.ARROW_RIGHT)
    assert shown() == ["4", "4"]
    assert slider.get_attribute("aria-valuetext") == "t = 4"


def test_a_picture_opens_large_and_the_arrow_keys_flip(page):
    frame = page.find_elements(By.CSS_SELECTOR, "button.frame")[1]
    frame.send_keys(Keys.ENTER)
    title, name = page.find_element(By.ID, "step"), page.find_element(By.ID, "title")
    assert title.text.startswith("CAM")
    assert name.text == visible(page)[0]
    for key, step in (
        (Keys.ARROW_RIGHT, "affinity labels"),
        (Keys.ARROW_LEFT, "CAM"),
        (Keys.ARROW_LEFT, "photo"),
        (Keys.ARROW_LEFT, "ground truth"),
    ):
        page.switch_to.active_element.send_keys(key)
        assert title.text.startswith(step)
    for key, place in ((Keys.ARROW_DOWN, 1), (Keys.ARROW_UP, 0), (Keys.ARROW_UP, -1)):
        page.switch_to.active_element.send_keys(key)
        assert name.text == visible(page)[place]
        assert "pseudo labels" in page.find_element(By.ID, "figures").text or place == -1
    page.switch_to.active_element.send_keys(Keys.ESCAPE)
    assert not page.find_element(By.TAG_NAME, "dialog").is_displayed()
    assert page.switch_to.active_element == frame


def test_the_large_picture_has_the_slider(page):
    frames = page.find_elements(By.CSS_SELECTOR, "button.frame:has([data-t])")
    frames[1].send_keys(Keys.ENTER)
    slider = page.find_element(By.CSS_SELECTOR, "#large-t input")
    shown = "[...document.querySelectorAll('#large [data-t]:not([hidden])')]"
    layers = f"return {shown}.map((layer) => layer.dataset.t)"
    assert page.execute_script(layers) == ["64"]
    slider.send_keys(Keys.HOME)
    assert page.execute_script(layers) == ["0"]
    assert "t=0" in page.current_url


def test_what_is_chosen_stands_in_the_address(page):
    Select(page.find_element(By.ID, "sort")).select_by_visible_text("CAM, best first")
    Select(page.find_element(By.ID, "view")).select_by_value("contours")
    Select(page.find_element(By.ID, "group")).select_by_value("worst")
    found, address = visible(page), page.current_url
    page.find_elements(By.CSS_SELECTOR, "article:not([hidden]) button.frame")[0].send_keys(
        Keys.ENTER
    )
    opened = page.current_url
    page.get("about:blank")
    page.get(address)
    assert visible(page) == found
    assert page.find_element(By.TAG_NAME, "body").get_attribute("data-view") == "contours"
    page.get("about:blank")
    page.get(opened)
    assert page.find_element(By.ID, "title").text == found[0]


def test_a_phone_shows_the_first_photo_at_once(page):
    resize(page, 390)
    page.refresh()
    top = "return document.querySelector('article').getBoundingClientRect().top"
    assert page.execute_script(top) < 800
    resize(page, 1280)  # and what was folded is back
    until(page, lambda: page.find_element(By.ID, "sort").is_displayed())


@pytest.mark.parametrize("width", [360, 1280])
def test_nothing_sticks_out_of_the_window(page, width):
    resize(page, width)
    assert page.execute_script("return document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_can_be_read_in_both_themes(page, theme):
    features = [{"name": "prefers-color-scheme", "value": theme}]
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    for selector in ("h1", ".faint", "figcaption", "output", "article h2"):
        ink, paper = page.execute_script(
            """let e = document.querySelector(arguments[0]), ink = getComputedStyle(e).color, paper;
            do { paper = getComputedStyle(e).backgroundColor; e = e.parentElement; }
            while (paper === "rgba(0, 0, 0, 0)");
            return [ink, paper].map((rgb) => rgb.match(/\\d+/g).slice(0, 3).map(Number));""",
            selector,
        )
        lighter, darker = sorted(map(luminance, (ink, paper)), reverse=True)
        assert (lighter + 0.05) / (darker + 0.05) >= 4.5, selector  # WCAG 2, level AA


def luminance(rgb):
    share = np.array(rgb) / 255
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    return linear @ [0.2126, 0.7152, 0.0722]


def test_a_thousand_photos_scroll(browser, tmp_path):
    rng = np.random.default_rng(0)
    photo = data_uri(Image.fromarray(rng.integers(0, 255, (48, 64, 3), np.uint8)))
    labels = data_uri(paint_labels(rng.choice([0, 1, 255], (48, 64)).astype(np.uint8)))
    panels = [Panel("photo", "photo", [])] + 5 * [Panel("CAM", "labels", [Layer(labels, [])])]
    card = Card("0", "train", "sample", ["cat"], photo, 64, 48, {"cam": 0.5}, panels)
    cards = [replace(copy.copy(card), id=str(i), scores={"cam": i / 1000}) for i in range(1000)]
    path = tmp_path / "index.html"
    path.write_text(render(cards, pd.DataFrame(), {"cat": 1}, RunDescription(), shown_step=64))
    browser.get(path.as_uri())
    until(browser, lambda: browser.find_elements(By.CSS_SELECTOR, ".panels"))
    for share in (0.5, 1):
        browser.execute_script(f"scrollTo(0, {share} * document.body.scrollHeight)")
        here = "[...document.querySelectorAll('.panels')].some((e) => e.checkVisibility() && \
            e.getBoundingClientRect().top < innerHeight && e.getBoundingClientRect().bottom > 0)"
        until(browser, lambda here=here: browser.execute_script(f"return {here}"))
        assert len(browser.find_elements(By.CSS_SELECTOR, ".panels")) < 100
    Select(browser.find_element(By.ID, "sort")).select_by_visible_text("CAM, best first")
    assert visible(browser)[:2] == ["999", "998"]
