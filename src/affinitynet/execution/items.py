"""Handlers of a node's single images, in force for as long as the node runs."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any


def _ignore(image_id: str) -> None:
    pass


def _keep(image_id: str, result: Any) -> Any:
    return result


@dataclass(frozen=True)
class ItemHandlers:
    """Handlers of single images.

    Attributes:
        on_skip: Called with each image that is skipped, at that moment.
        save_item: Saves an image's result in the process that made it, and returns a
            placeholder, so that the data need not travel. Picklable.
    """

    on_skip: Callable[[str], None] = _ignore
    save_item: Callable[[str, Any], Any] = _keep


_handlers: ContextVar[ItemHandlers] = ContextVar("item_handlers", default=ItemHandlers())  # noqa: B039  (frozen)


def item_handlers() -> ItemHandlers:
    """Return the handlers in force."""
    return _handlers.get()


@contextmanager
def handle_items(handlers: ItemHandlers) -> Iterator[None]:
    """Put handlers in force within a `with` block, in this thread only."""
    token = _handlers.set(handlers)
    try:
        yield
    finally:
        _handlers.reset(token)
