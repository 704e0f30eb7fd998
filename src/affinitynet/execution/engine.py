"""Per-image work and training, on whichever engine `execution.engine` names.

All that the pipelines use is here: `map_images`, `map_shown` and `chunks` for work on images,
`launch` for training. Each engine is a module, imported only when it is chosen.
"""

import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from importlib import import_module
from typing import Any, Protocol, TypeVar, runtime_checkable

from affinitynet.errors import UserError
from affinitynet.execution.items import item_handlers
from affinitynet.execution.parameters import ENGINES, Execution
from affinitynet.execution.progress import track

logger = logging.getLogger(__name__)
T = TypeVar("T")

CHUNK = 16
"""Images that are saved at a time: a run that is killed loses no more than these."""

ATTEMPTS = 3
"""Times that an image is tried whose worker dies over it."""

PATIENCE = 10.0
"""Seconds in which the others that train together hear that one of them failed."""

FEW_LOST = 5
"""Images that may be given up however few there are in all."""

SHARE_LOST = 0.01
"""Share of the images tried so far that may be given up: more is not the images' fault but the
code's or the memory's. Of those tried, so that it shows at the start of a long run."""


class WorkerDiedError(Exception):
    """The process that worked on an image died, each of the `ATTEMPTS` times."""


class RankDiedError(Exception):
    """One of the processes that train together died, or one that prepares their samples."""


class TrainingDiedError(UserError):
    """One of them died, each of the `ATTEMPTS` times."""


class Engine(Protocol):
    """An engine is a module with these two functions, and a line in `ENGINES`."""

    def pool(
        self, function: Callable[..., T], *, total: int, execution: Execution, networks: bool
    ) -> AbstractContextManager[tuple[int, Callable[..., Callable[[], T]]]]:
        """Get workers ready for calls of a function; those that only the pool uses end with it.

        Args:
            function: Picklable.
            total: Number of calls that there will be.
            execution: Number of workers, and where.
            networks: Whether the function runs a network: for the workers that have devices.

        Returns:
            The context of how many calls to keep under way, and `submit`: `submit(*arguments)`
            begins a call, and returns a function that waits for its result. It raises the
            error of the call, or `WorkerDiedError`.
        """

    def launch(self, loop: Callable[[], Iterator[T]], *, execution: Execution) -> Iterator[T]:
        """Run a loop in `execution.devices` processes that are one torch.distributed group.

        Args:
            loop: Picklable.
            execution: Number of processes, and where.

        Yields:
            The values of rank 0, as they come.

        Raises:
            RankDiedError: If one of the processes dies or raises it, also where others then fail
                because of it; other errors of the loop are raised unchanged.
        """


@runtime_checkable
class Group(Protocol):
    """A function that does several images in one call, as a network does a batch."""

    def split(self, image_id: str, *arguments: Any) -> list[tuple[Any, ...]]:
        """Turn an item of several images into an item of each of them."""


def _split_nothing(*item: Any) -> list[tuple[Any, ...]]:
    return [item]


def map_shown(
    function: Callable[..., T],
    items: Iterable[tuple[Any, ...]],
    *,
    total: int,
    execution: Execution,
    description: str,
    skip: bool = False,
    outputs: bool = False,
) -> Iterator[tuple[str, T]]:
    """Map a function over images in processes; `map_images` with a progress bar."""
    results = map_images(
        function, items, total=total, execution=execution, skip=skip, outputs=outputs
    )
    yield from track(results, description, total=total)


def _call_and_save(
    save: Callable[[str, T], T], function: Callable[..., T], image_id: str, *arguments: Any
) -> T:
    return save(image_id, function(*arguments))


def map_images(
    function: Callable[..., T],
    items: Iterable[tuple[Any, ...]],
    *,
    total: int,
    execution: Execution,
    networks: bool = False,
    skip: bool = False,
    outputs: bool = False,
) -> Iterator[tuple[str, T]]:
    """Map a function over images in processes; in bounded memory.

    An image over which workers die `ATTEMPTS` times is given up, and the others go on. An
    error of the function ends the mapping at once: it is a bug or a wrong parameter.

    Args:
        function: Picklable; called as `function(*arguments)`. A `Group` does several images in
            one call; they are done one by one where workers die over all of them.
        items: `(image id, *arguments)` of each image, taken as workers get free.
        networks: Whether the function runs a network: for the workers that have devices.
        skip: Whether an image that is given up is left out, and handed to `on_skip` of the item
            handlers; else it is an error, after all others.
        outputs: Whether the results are a node's output: then `save_item` of the item handlers
            saves them, and the yielded values stand for them.

    Yields:
        Image id and result, in the order of the items.

    Raises:
        UserError: If images were given up and `skip` is false; at once if they are more than
            `FEW_LOST` and `SHARE_LOST` of those tried.
    """
    split = function.split if isinstance(function, Group) else _split_nothing
    if outputs:
        function = partial(_call_and_save, item_handlers().save_item, function)
        items = ((item[0], *item) for item in items)
    lost: list[str] = []
    tried = 0

    def give_up(image_id: str) -> None:
        lost.append(image_id)
        if len(lost) > max(FEW_LOST, SHARE_LOST * tried):
            raise _died_over(lost)
        if skip:
            logger.warning("%s is skipped: processes died %d times over it.", image_id, ATTEMPTS)
            item_handlers().on_skip(image_id)

    with _engine(execution).pool(function, total=total, execution=execution, networks=networks) as (
        ahead,
        submit,
    ):
        begun = ((item, submit(*item[1:])) for item in items)
        for item, result in _keep_ahead(begun, ahead):
            tried += len(split(*item))
            for part, found in _one_by_one_if_needed(item, result, submit, split):
                if found is _DIED:
                    give_up(part)
                else:
                    yield part, found
    if lost and not skip:
        raise _died_over(lost)


_DIED: Any = object()
"""In place of the result of an image that its workers died over."""


def _one_by_one_if_needed(
    item: tuple[Any, ...],
    result: Callable[[], T],
    submit: Callable[..., Callable[[], T]],
    split: Callable[..., list[tuple[Any, ...]]],
) -> Iterator[tuple[str, T]]:
    try:
        yield item[0], result()
    except WorkerDiedError:
        single = split(*item)
        if len(single) == 1:
            yield item[0], _DIED
            return
        for part in single:
            yield from _one_by_one_if_needed(part, submit(*part[1:]), submit, split)


def _died_over(lost: list[str]) -> UserError:
    return UserError(
        f"Worker processes died {ATTEMPTS} times over each of these images, which are not done: "
        f"{', '.join(lost)}. Most often memory ran out (fewer execution.workers need less), or a "
        "file crashes the library that reads it (take it out of the data set). Finished images are "
        "kept; go on with: --params resume=true"
    )


def launch(loop: Callable[[T], Iterator[T]], start: T, *, execution: Execution) -> Iterator[T]:
    """Run a training loop in `execution.devices` processes that share every batch.

    If one of them dies, all start again from the last value that was yielded.

    Args:
        loop: Goes on from a value that it has yielded, or from `start`. Picklable; finds its rank
            by torch.distributed.
        start: First value of the loop.

    Yields:
        The values of rank 0, as they come.

    Raises:
        TrainingDiedError: If processes die `ATTEMPTS` times without a value in between.
    """
    last, attempt = start, 1
    while True:
        values = _engine(execution).launch(partial(loop, last), execution=execution)
        try:
            for last in values:
                attempt = 1
                yield last
            return
        except RankDiedError as error:
            if attempt == ATTEMPTS:
                raise TrainingDiedError(
                    f"A training process died {ATTEMPTS} times in the same epoch: {error}\nThe "
                    "epochs before are kept; go on with: --params resume=true"
                ) from error
            attempt += 1
            logger.warning("%s Training goes on from its last epoch.", error)


def chunks(results: Iterable[tuple[str, T]]) -> Iterator[dict[str, T]]:
    """Gather `(image id, result)` pairs into dicts of `CHUNK` images."""
    chunk: dict[str, T] = {}
    for image_id, result in results:
        chunk[image_id] = result
        if len(chunk) == CHUNK:
            yield chunk
            chunk = {}
    if chunk:
        yield chunk


def _engine(execution: Execution) -> Engine:
    try:
        engine: Any = import_module(ENGINES[execution.engine])
    except ModuleNotFoundError as error:
        raise UserError(
            f"execution.engine is '{execution.engine}', which needs the package '{error.name}': "
            'pip install "affinitynet[cluster]"'
        ) from error
    return engine  # type: ignore[no-any-return]


def _keep_ahead(items: Iterable[T], count: int) -> Iterator[T]:
    """Yield the items in order, the next `count - 1` of them taken already."""
    taken: deque[T] = deque()
    for item in items:
        taken.append(item)
        if len(taken) == count:
            yield taken.popleft()
    yield from taken
