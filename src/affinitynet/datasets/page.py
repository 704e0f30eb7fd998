"""An HTML page that a run makes."""

from html import escape
from typing import Any

from kedro.io import Version
from kedro_datasets._typing import HTMLPreview
from kedro_datasets.text import TextDataset

from affinitynet.datasets.partitions import VersionedPartitionsDataset


class PageDataset(VersionedPartitionsDataset):
    """A folder of HTML pages, one version a run: `<path>/<version>/<name>.html`.

    Args:
        path: Folder of all versions. May name any fsspec protocol.
        version: Load and save version, set by Kedro (`versioned: true`).
        credentials: Passed to the file system.

    Example:
        ```yaml
        reporting.gallery:
          type: affinitynet.datasets.PageDataset
          path: data/08_reporting/gallery
          versioned: true
        ```

        >>> from kedro.io import Version
        >>> import tempfile
        >>> pages = PageDataset(path=tempfile.mkdtemp(), version=Version(None, "2018-06-18"))
        >>> pages.save({"index": "<p>a page</p>"})
        >>> pages.confirm()
        >>> pages.load()["index"]()
        '<p>a page</p>'
    """

    def __init__(
        self,
        *,
        path: str,
        version: Version | None = None,
        credentials: dict[str, Any] | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(
            path=path,
            dataset=TextDataset,
            filename_suffix=".html",
            folder=".",
            version=version,
            credentials=credentials,
            metadata=metadata,
        )

    def preview(self) -> HTMLPreview:  # type: ignore[override]  # Kedro-Viz reads the annotation
        """Name the pages' files for Kedro-Viz, which shows no page within its own."""
        files = [f"{self._get_load_path()}/{name}.html" for name in self.load()]
        lines = "".join(f"<p><code>{escape(file)}</code></p>" for file in files)
        return HTMLPreview(f"<p>Open in a browser:</p>{lines}")
