import os

import pytest

from affinitynet.execution import Execution, pick_device, stream
from affinitynet.execution.local import CHUNK


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
    return [*stream(function, items(count), total=count, execution=execution, description="")]


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
    chunks = stream(square, watched(), total=10 * CHUNK, execution=execution, description="")
    assert not taken
    next(chunks)
    assert len(taken) <= CHUNK + 2 * workers + 1


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_in_a_worker_ends_the_stream(workers):
    with pytest.raises(ValueError, match="three"):
        collect(fail_at_three, 5, workers)


def test_zero_workers_takes_the_cores_this_process_may_use():
    assert Execution(workers=0).processes == len(os.sched_getaffinity(0))
    assert Execution(workers=3).processes == 3
    with pytest.raises(ValueError, match=r"execution.workers is -1"):
        Execution(workers=-1)


def test_a_device_that_is_missing_is_named(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert pick_device(Execution(device="auto")).type == "cpu"
    with pytest.raises(ValueError, match=r"execution.device is 'cuda:1'"):
        pick_device(Execution(device="cuda:1"))
