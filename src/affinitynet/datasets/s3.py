"""Objects of S3 that appear under their name only when they are completely written.

An upload that is cut off leaves no object. But a file that is closed because its writer failed
would be uploaded as far as it had come. And a server that goes away is waited for.
"""

import asyncio
import logging
import os
import sys
from functools import partial
from typing import Any

from botocore.exceptions import ClientError, ConnectionError
from fsspec.asyn import get_loop
from s3fs import S3FileSystem
from s3fs.core import set_custom_error_handler

logger = logging.getLogger(__name__)

_of_parent: list[Any] = []
"""Connections inherited by a forked process, kept for ever: closing it would disturb the parent."""


class AtomicS3FileSystem(S3FileSystem):
    """s3fs, but for files whose writer raises: they are discarded. And it is more patient.

    It also works in forked processes, such as a `DataLoader`'s: each has connections of its own.
    """

    _pid: int
    _loop: Any
    _s3: Any
    session: Any

    retries = 10  # 17 s from the first to the last, beside botocore's own waits

    @property
    def loop(self) -> Any:
        """The event loop of this process; all that talks to the server asks for it first."""
        if self._pid != os.getpid():
            _of_parent.append((self._s3, self.session, self._loop))
            self._s3 = self.session = None
            self._set_session_lock = asyncio.Lock()
            self._loop = get_loop()
            self._pid = os.getpid()
        return self._loop

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


def _is_away(error: Exception) -> bool:
    """Whether an error is of a server that is away: s3fs itself would not try again."""
    away = isinstance(error, ConnectionError) or (
        isinstance(error, ClientError)
        and error.response["ResponseMetadata"].get("HTTPStatusCode", 0) >= 500
    )
    if away:
        logger.warning("%s Waiting for it.", error)
    return away


set_custom_error_handler(_is_away)
