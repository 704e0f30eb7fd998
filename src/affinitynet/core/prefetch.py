"""Items made in a thread while others are worked on."""

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


def prefetch(items: Iterable[T], count: int) -> Iterator[T]:
    """Make items in a thread, up to `count` of them before they are asked for.

    Args:
        items: Made one after the other, in the order given.
        count: Items that are waiting at most, 1 or more.

    Yields:
        The items.
    """
    source, end = iter(items), object()
    with ThreadPoolExecutor(max_workers=1) as thread:
        waiting = deque(thread.submit(next, source, end) for _ in range(count))
        while (item := waiting.popleft().result()) is not end:
            waiting.append(thread.submit(next, source, end))
            yield item  # type: ignore[misc]  # no `end` gets here
