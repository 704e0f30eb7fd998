"""MkDocs hooks: pages that are not written in docs/, links that lead out of it, equations.

The README, the changelog and the guide for contributors are pages of the site as they are. The
reference of the parameters is made from conf/, that of the code from the packages in src/.
"""

import html
import posixpath
import re
from collections.abc import Iterator
from pathlib import Path

from latex2mathml.converter import convert
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from parameters_reference import reference, section

ROOT = Path(__file__).parents[1]

PAGES = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "LICENSE": "LICENSE.txt",
    "CITATION.cff": "CITATION.cff",
    "docs/decisions": "decisions/0001-partitions.md",
    **{
        str(path.relative_to(ROOT)): str(path.relative_to(ROOT))
        for pattern in ("notebooks/*.ipynb", "deploy/*/*", "Dockerfile")
        for path in ROOT.glob(pattern)
        if path.is_file()
    },
}
"""What the site has of files outside of docs/, and the page that a folder's link leads to."""

OWN_TEXT = "show_root_heading: false, show_root_toc_entry: false, members: []"
"""Options of mkdocstrings for a package's own docstring, above its modules."""

LINK = re.compile(r"(?<=\]\()[^)#\s]+(?:#[^)\s]*)?(?=\))")
EQUATION = re.compile(r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', re.DOTALL)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages, and fill the folders of the navigation."""
    for source, page in PAGES.items():
        if (ROOT / source).is_file():
            files.append(File.generated(config, page, abs_src_path=str(ROOT / source)))
    try:
        parameters = reference(ROOT / "conf")
    except ValueError as error:
        raise PluginError(str(error)) from error
    files.append(File.generated(config, "configuration.md", content=parameters))
    for package, text in api_pages(ROOT / "src"):
        files.append(File.generated(config, f"api/{package}.md", content=text))
    config.nav = [filled(entry, files) for entry in config.nav]
    return files


def filled(entry: dict | str, files: Files) -> dict | str:
    """Replace folders in an entry of the navigation by the pages in them."""
    if isinstance(entry, str):
        return entry
    ((title, value),) = entry.items()
    if isinstance(value, list):
        return {title: [filled(child, files) for child in value]}
    if value.endswith("/"):
        pages = sorted((path for path in files.src_uris if path.startswith(value)), key=title_of)
        return {title: [{title_of(path): path} if value == "api/" else path for path in pages]}
    return entry


def title_of(path: str) -> str:
    """Name a package's page without the project's own name in front."""
    return path.removeprefix("api/").removesuffix(".md").removeprefix("affinitynet.")


def api_pages(source: Path) -> Iterator[tuple[str, str]]:
    """Yield the name of each package, and a page with its modules for mkdocstrings."""
    for init in sorted(source.rglob("__init__.py")):
        package = ".".join(init.parent.relative_to(source).parts)
        modules = [path.stem for path in sorted(init.parent.glob("*.py")) if path.stem[0] != "_"]
        own = f"::: {package}\n    options: {{{OWN_TEXT}}}\n"
        parts = [f"# {package}\n", own, *(f"::: {package}.{module}\n" for module in modules)]
        yield package, "\n".join(parts)


def on_page_markdown(markdown: str, *, page: Page, **_: object) -> str:
    """Turn links to files of the repository into links to the pages made of them."""
    source = next((path for path, uri in PAGES.items() if uri == page.file.src_uri), None)
    folder = posixpath.dirname(source if source else f"docs/{page.file.src_uri}")
    here = posixpath.dirname(page.file.src_uri) or "."

    def on_site(link: re.Match[str]) -> str:
        path, hash_, fragment = link[0].partition("#")
        if ":" in path:
            return link[0]
        path = posixpath.normpath(posixpath.join(folder, path))
        if path.startswith("conf/"):
            path, hash_, fragment = "configuration.md", "#", section(Path(path))
        else:
            path = PAGES.get(path, path.removeprefix("docs/"))
        return posixpath.relpath(path, here) + hash_ + fragment

    return LINK.sub(on_site, markdown)


def on_page_content(html_: str, **_: object) -> str:
    """Render the equations as MathML."""

    def mathml(match: re.Match[str]) -> str:
        equation = html.unescape(match[2]).strip()
        if match[1] == "span":
            return convert(equation)
        return f'<div class="equation">{convert(equation, display="block")}</div>'

    return EQUATION.sub(mathml, html_)


def on_post_build(config: MkDocsConfig) -> None:
    """Save the search index as a script too, which the theme asks for in pages from the disk."""
    index = Path(config.site_dir) / "search" / "search_index.json"
    if index.is_file():
        index.with_suffix(".js").write_text(f"var __index = {index.read_text()}")
