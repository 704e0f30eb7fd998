"""The documentation's site: it builds without a warning, is whole, and needs no other host."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from mkdocs.commands.build import build
from mkdocs.config import load_config
from mkdocs.exceptions import Abort
from scripts.parameters_reference import ENVIRONMENTS, parameter_files, read

from affinitynet.pipeline_registry import register_pipelines

PROJECT = Path(__file__).parents[2]
STAGES = ("cam", "affinity_labels", "affinity_training", "revision", "segmentation")


@pytest.fixture(scope="session")
def site(made_once: Callable[[str, Callable[[Path], None]], Path]) -> Path:
    return made_once("site", build_site)


def build_site(folder: Path) -> None:
    config = load_config(str(PROJECT / "mkdocs.yml"), site_dir=str(folder), strict=True)
    # Half of the time, and nothing that is checked here.
    config.plugins["material/search"].config.enabled = False
    config.plugins["mkdocstrings"].config.handlers["python"]["options"]["show_source"] = False
    try:
        build(config)  # strict: dead links and anchors, and pages that nothing leads to, fail
    except Abort:
        pytest.fail("mkdocs build --strict: see the warnings above")


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def test_every_parameter_is_in_the_reference_with_its_comment(site: Path) -> None:
    page = text_of(site / "configuration.html")
    descriptions = dict(
        re.findall(r'<code id="([^"]+)">.*?</dt>\s*<dd>(.*?)</dd>', page, re.DOTALL)
    )

    def leaves(mapping: dict, prefix: str = "") -> list[str]:
        return [
            name
            for key, value in mapping.items()
            for name in (
                leaves(value, f"{prefix}{key}.")
                if isinstance(value, dict) and value and f"{prefix}{key}" not in descriptions
                else [f"{prefix}{key}"]
            )
        ]

    for path in (PROJECT / "conf" / "base").glob("parameters*.yml"):
        for name in leaves(yaml.safe_load(path.read_text(encoding="utf-8"))):
            words = re.sub(r"<[^>]+>", "", descriptions.get(name, ""))
            assert words.strip(), f"{name} of {path.name}"


@pytest.mark.parametrize("environment", ["base", *ENVIRONMENTS])
def test_every_parameter_has_a_comment_of_its_own(environment: str) -> None:
    conf = PROJECT / "conf"
    base = {entry.name: entry for file in parameter_files(conf / "base") for entry in read(file)[1]}
    leaves = None if environment == "base" else base
    assert [
        f"{entry.name} of {file.name}"
        for file in parameter_files(conf / environment)
        for entry in read(file, leaves)[1]
        if not entry.is_group and not entry.comment.strip()
    ] == []


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("cam.training.epochs", "until the loss levels off"),  # behind the value
        ("execution.devices", "each on a device of its own"),  # above it, two lines
        ("revision.random_walk.alpha", "chosen from the photos"),  # of an environment
        ("data_set.val_share", "0.2"),  # set by an environment alone
    ],
)
def test_comments_and_overrides_stand_beside_their_parameter(
    site: Path, name: str, words: str
) -> None:
    page = text_of(site / "configuration.html")
    start = page.index(f'<code id="{name}">')
    assert words.lower() in page[start : page.index("<dt>", start)].lower()


@pytest.mark.parametrize("stage", STAGES)
def test_a_stages_page_names_its_nodes_and_outputs(stage: str) -> None:
    page = text_of(PROJECT / "docs" / "stages" / f"{stage}.md")
    pipeline = register_pipelines()[stage]
    names = {node.name for node in pipeline.nodes} | pipeline.all_outputs()
    assert {name for name in names if f"`{name}`" not in page} == set()


def test_the_site_needs_no_other_host(site: Path) -> None:
    for page in site.rglob("*.html"):
        html = text_of(page)
        loaded = re.findall(
            r'<(?:script|img|link rel="stylesheet")[^>]*?(?:src|href)="([^"]+)"', html
        )
        assert [address for address in loaded if "//" in address] == [], page.name


def test_equations_are_drawn_without_scripts(site: Path) -> None:
    for page in site.rglob("*.html"):
        assert "arithmatex" not in text_of(page), page.name
    assert '<math xmlns="http://www.w3.org/1998/Math/MathML" display="block">' in text_of(
        site / "method.html"
    )


def test_the_code_reference_has_the_method(site: Path) -> None:
    page = text_of(site / "api" / "affinitynet.core.html")
    for name in ("random_walk.propagate", "affinity.affinity_loss", "dense_crf.refine"):
        assert f'id="affinitynet.core.{name}"' in page
