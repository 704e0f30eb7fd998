"""The lock of a run: who holds it goes on with the run, everybody else is refused.

On a file system it is `flock`: it holds between the processes, containers and hosts that share the
folder, and ends with its process, however that ends. An object store has no locks. There it is a
lease, an object that its holder renews.
"""

import logging
import os
import socket
import time
import uuid
from pathlib import Path
from threading import Event, Thread
from typing import Any, Protocol

from filelock import FileLock, Timeout
from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem

from affinitynet.datasets.atomic import is_process
from affinitynet.errors import UserError

logger = logging.getLogger(__name__)

RENEWAL = 20.0
"""Seconds between two renewals of a lease."""

EXPIRY = 60.0
"""Seconds without a renewal after which the holder of a lease counts as dead."""

SETTLING = 3.0
"""Seconds in which two that take over the same lease find out who was the last to write it."""


class IsHeldError(Exception):
    """Another process holds the lock."""


class Lock(Protocol):
    """A lock that this process holds."""

    def check(self) -> None:
        """Check that the lock is still held.

        Raises:
            UserError: If another process has taken it over.
        """

    def release(self, *, remove: bool) -> None:
        """Let others have the lock.

        Args:
            remove: Whether nobody will ask for it again, so that nothing of it is left.
        """


_held: dict[str, Lock] = {}
"""The locks of this process, by path: an interrupted run, in a notebook, leaves its one here."""


def acquire(folder: str, name: str) -> Lock:
    """Acquire a lock, without waiting for its holder.

    Args:
        folder: A path or a URL.
        name: Of the lock.

    Raises:
        IsHeldError: If another process holds it.
    """
    files, root = url_to_fs(folder)
    path = f"{root}/{name}.lock"
    if path not in _held:
        is_local = isinstance(files, LocalFileSystem)
        _held[path] = _File(path) if is_local else _Lease(files, path)
    return _held[path]


class _File:
    """A lock of the operating system."""

    def __init__(self, path: str) -> None:
        self._path = Path(path)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = FileLock(path, thread_local=False)
        try:
            self._lock.acquire(timeout=0)
        except Timeout as error:
            raise IsHeldError from error

    def check(self) -> None:
        """It cannot be lost."""

    def release(self, *, remove: bool) -> None:
        _held.pop(str(self._path), None)
        if remove:
            self._path.unlink(missing_ok=True)
        self._lock.release()


class _Lease:
    """An object that its holder renews, as long as it lives."""

    def __init__(self, files: Any, path: str) -> None:
        self._files, self._path = files, path
        self._token = f"{socket.gethostname()} {os.getpid()} {uuid.uuid4().hex}"
        former = self._read()
        if former:
            self._wait_for_expiry(former)
        self._renew()
        if former:
            time.sleep(SETTLING)
        if not self._is_ours():
            raise IsHeldError
        self._lost = False
        self._end = Event()
        self._thread = Thread(target=self._keep, daemon=True)
        self._thread.start()

    def check(self) -> None:
        if self._lost:
            raise UserError(f"Another process has taken this run over ({self._path}).")

    def release(self, *, remove: bool) -> None:
        _held.pop(self._path, None)
        self._end.set()
        self._thread.join()
        if self._is_ours():
            self._files.rm(self._path)

    def _keep(self) -> None:
        while not self._end.wait(RENEWAL):
            try:
                self._lost = not self._is_ours()
                if self._lost:
                    return
                self._renew()
            except OSError as error:
                logger.warning("The lease %s could not be renewed: %s", self._path, error)

    def _renew(self) -> None:
        self._files.pipe_file(self._path, f"{self._token} {time.time()}".encode())

    def _read(self) -> str:
        self._files.invalidate_cache(os.path.dirname(self._path))
        try:
            return str(self._files.cat_file(self._path).decode())
        except FileNotFoundError:
            return ""

    def _is_ours(self) -> bool:
        return self._read().startswith(self._token)

    def _wait_for_expiry(self, former: str) -> None:
        """Wait until the holder counts as dead: by its process, or as it renews the lease no more.

        Clocks are not compared: those of two hosts may differ.
        """
        host, pid, *_ = former.split()
        if host == socket.gethostname() and not is_process(int(pid)):
            return
        logger.warning("Watching for %.0f s whether %s renews its lease …", EXPIRY, host)
        end = time.monotonic() + EXPIRY
        while time.monotonic() < end:
            now = self._read()
            if not now:
                return
            if now != former:
                raise IsHeldError
            time.sleep(RENEWAL / 10)
