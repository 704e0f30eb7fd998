"""Objects of S3 that appear under their name only when they are completely written.

An upload that is cut off leaves no object. But a file that is closed because its writer failed
would be uploaded as far as it had come.
"""

import sys
from functools import partial
from typing import Any

from s3fs import S3FileSystem


class AtomicS3FileSystem(S3FileSystem):
    """s3fs, but for files whose writer raises: they are discarded."""

    def _open(self, path: str, mode: str = "rb", **options: Any) -> Any:
        file = super()._open(path, mode, **options)
        if "w" in mode:
            file.close = partial(_close, file, sys.exception())
        return file


def _close(file: Any, outer: BaseException | None) -> None:
    """Upload a file, unless an exception is on its way that was not there when it was opened."""
    if not file.closed and sys.exception() is not outer:
        file.discard()
        file.forced = True  # for s3fs: nothing is left to upload
    type(file).close(file)
