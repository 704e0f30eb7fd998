"""HTML pages in the catalog."""

from inspect import signature

import pytest
from kedro.io import DatasetError, Version

from affinitynet.datasets import PageDataset


def pages(folder, version):
    return PageDataset(path=str(folder), version=Version(None, version))


def test_a_page_is_a_file_of_its_own_version(tmp_path):
    page = pages(tmp_path, "2026-01-01")
    page.save({"index": "<p>first</p>"})
    with pytest.raises(DatasetError, match="Did not find any versions"):
        pages(tmp_path, None).load()
    page.confirm()
    assert (tmp_path / "2026-01-01/index.html").read_text() == "<p>first</p>"
    assert pages(tmp_path, None).load()["index"]() == "<p>first</p>"


def test_kedro_viz_names_the_file(tmp_path):
    page = pages(tmp_path / "a<b", "2026-01-01")
    page.save({"index": "<p>first</p>"})
    page.confirm()
    assert f"{tmp_path}/a&lt;b/2026-01-01/index.html</code>" in page.preview()
    assert signature(PageDataset.preview).return_annotation.__name__ == "HTMLPreview"
