"""The engine `local`: items in processes of this machine, some of which are killed."""

import os
import signal
from functools import partial

import pytest

from affinitynet.errors import UserError
from affinitynet.execution import (
    CHUNK,
    Execution,
    ItemHandlers,
    chunks,
    handle_items,
    map_images,
    map_shown,
)


def square(number):
    return number * number


def process_of(number):
    return os.getpid()


def fail_at_three(number):
    if number == 3:
        raise ValueError("three")
    return number


def items(count):
    return ((f"image_{number:03d}", number) for number in range(count))


def collect(function, count, workers=1):
    execution = Execution(workers=workers, device="cpu")
    return [*chunks(map_images(function, items(count), total=count, execution=execution))]


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("count", [0, 1, CHUNK, CHUNK + 1, 3 * CHUNK - 1])
def test_results_come_in_chunks_in_the_items_order(count, workers):
    found = collect(square, count, workers)
    assert [len(chunk) for chunk in found[:-1]] == [CHUNK] * (len(found) - 1)
    pairs = [pair for chunk in found for pair in chunk.items()]
    assert pairs == [(image_id, number**2) for image_id, number in items(count)]


def test_one_worker_is_this_process_and_several_are_others():
    assert {*collect(process_of, 4)[0].values()} == {os.getpid()}
    assert os.getpid() not in collect(process_of, 4, workers=2)[0].values()


@pytest.mark.parametrize("workers", [1, 2])
def test_items_are_taken_as_workers_get_free(workers):
    taken = []

    def watched():
        for pair in items(10 * CHUNK):
            taken.append(pair)
            yield pair

    execution = Execution(workers=workers, device="cpu")
    found = chunks(map_images(square, watched(), total=10 * CHUNK, execution=execution))
    assert not taken
    next(found)
    assert len(taken) <= CHUNK + 2 * workers + 1


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_in_a_worker_ends_the_stream(workers):
    with pytest.raises(ValueError, match="three"):
        collect(fail_at_three, 5, workers)


def save_in(folder, name, result):
    (folder / name).write_text(f"{result} {os.getpid()}")
    return f"{name} is saved"


@pytest.mark.parametrize("workers", [1, 2])
def test_what_a_node_yields_is_saved_where_it_is_made(workers, tmp_path):
    options = {"total": 4, "execution": Execution(workers=workers, device="cpu")}
    with handle_items(ItemHandlers(save_item=partial(save_in, tmp_path))):
        for found in (
            map_images(square, items(4), outputs=True, **options),
            map_shown(square, items(4), outputs=True, description="", **options),
        ):
            assert [*found] == [(name, f"{name} is saved") for name, _ in items(4)]
    saved = {path.name: path.read_text().split() for path in tmp_path.iterdir()}
    assert {name: int(result) for name, (result, _) in saved.items()} == {
        name: number**2 for name, number in items(4)
    }
    assert ({process for _, process in saved.values()} == {str(os.getpid())}) == (workers == 1)
    assert [*map_images(square, items(2), **options)] == [("image_000", 0), ("image_001", 1)]


def die_once(folder, number):
    """Be killed at the fifth image, as by the system when memory runs out; but only once."""
    if number == 5 and not (folder / "died").exists():
        (folder / "died").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return number * number


def die_at(numbers, number):
    if number in numbers:
        os.kill(os.getpid(), signal.SIGKILL)
    return number * number


class DieAtAny:
    """Does several images in one call."""

    def __init__(self, crashing):
        self.crashing = crashing

    def __call__(self, numbers):
        return [die_at(self.crashing, number) for number in numbers]

    def split(self, _, numbers):
        return [(f"image_{number:03d}", [number]) for number in numbers]


def test_a_worker_that_is_killed_costs_nothing_but_time(tmp_path):
    found = collect(partial(die_once, tmp_path), 3 * CHUNK, workers=2)
    assert found == collect(square, 3 * CHUNK)
    assert (tmp_path / "died").exists()


def map_deadly(numbers, count, **options):
    execution = Execution(workers=2, device="cpu")
    deadly = partial(die_at, numbers)
    return map_images(deadly, items(count), total=count, execution=execution, **options)


def test_images_that_kill_their_workers_are_skipped(caplog):
    skipped = []
    with handle_items(ItemHandlers(on_skip=skipped.append)):
        found = [*map_deadly({3, 4}, 12, skip=True)]
    assert found == [(name, n * n) for name, n in items(12) if n not in (3, 4)]
    assert skipped == ["image_003", "image_004"]
    assert "image_003 is skipped: processes died 3 times over it" in caplog.text


def test_where_all_images_are_needed_the_crashing_ones_are_named_after_the_others_are_done():
    done = []
    with pytest.raises(UserError, match=r"died 3 times .* done: image_003, image_004\."):
        done.extend(map_deadly({3, 4}, 12))
    assert done == [(name, n * n) for name, n in items(12) if n not in (3, 4)]


def test_more_crashing_images_than_a_few_and_a_share_are_not_the_images_fault(monkeypatch):
    monkeypatch.setattr("affinitynet.execution.engine.FEW_LOST", 1)
    found = []
    with pytest.raises(UserError, match=r"done: image_005, image_007\."):
        found.extend(map_deadly({5, 7}, 14, skip=True))
    assert len(found) == 6
    monkeypatch.setattr("affinitynet.execution.engine.SHARE_LOST", 0.25)
    assert len([*map_deadly({5, 7}, 14, skip=True)]) == 12


def test_an_image_may_be_skipped_where_it_is_the_only_one():
    """As in a run that is resumed after all the others were done."""
    assert not [*map_deadly({0}, 1, skip=True)]


def test_images_that_are_done_together_are_done_one_by_one_where_one_crashes():
    """As shares of photos are, of which each builds its network but once."""

    found = map_images(
        DieAtAny({4}),
        [("image_000", [0, 1, 2]), ("image_003", [3, 4, 5]), ("image_006", [6])],
        total=3,
        execution=Execution(workers=2, device="cpu"),
        skip=True,
    )
    assert [*found] == [
        ("image_000", [0, 1, 4]),
        ("image_003", [9]),
        ("image_005", [25]),
        ("image_006", [36]),
    ]


def device_of(number):
    return number, os.getpid(), os.environ["CUDA_VISIBLE_DEVICES"]


def die_once_on_a_device(folder, number):
    return die_once(folder, number), os.environ["CUDA_VISIBLE_DEVICES"]


def test_networks_run_in_a_process_for_each_device_that_take_turns(monkeypatch, tmp_path):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,7,9")
    options = {"total": 7, "execution": Execution(devices=2, device="cpu"), "networks": True}
    found = [value for _, value in map_images(device_of, items(7), **options)]
    assert [(number, device) for number, _, device in found] == [
        (number, "47"[number % 2]) for number in range(7)
    ]
    assert len({pid for _, pid, _ in found} - {os.getpid()}) == 2
    found = [*map_images(partial(die_once_on_a_device, tmp_path), items(7), **options)]
    assert found == [(name, (n * n, "47"[n % 2])) for name, n in items(7)]
    assert (tmp_path / "died").exists()
