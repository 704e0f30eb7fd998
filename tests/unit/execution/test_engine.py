import os
import sys
from contextlib import contextmanager
from types import SimpleNamespace

import pytest

from affinitynet.errors import UserError
from affinitynet.execution import Execution, launch, map_images, pick_device
from affinitynet.execution.local import nth_device
from affinitynet.execution.parameters import ENGINES


def square(number):
    return number * number


def items(count):
    return ((f"image_{number:03d}", number) for number in range(count))


def test_zero_workers_takes_the_cores_this_process_may_use():
    assert Execution(workers=0).processes == len(os.sched_getaffinity(0))
    assert Execution(workers=3).processes == 3
    with pytest.raises(ValueError, match=r"workers"):
        Execution(workers=-1)


def test_a_device_that_is_missing_is_named(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert pick_device(Execution(device="auto")).type == "cpu"
    with pytest.raises(ValueError, match=r"device 'cuda:1': torch sees no CUDA device"):
        pick_device(Execution(device="cuda:1"))


def test_the_devices_are_those_that_this_process_may_use():
    assert [nth_device(n, None) for n in range(3)] == ["0", "1", "2"]
    assert [nth_device(n, "4,GPU-7") for n in range(2)] == ["4", "GPU-7"]
    assert nth_device(1, "") == nth_device(2, "4,7") == ""


def test_more_processes_than_devices_are_refused(monkeypatch):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    execution = Execution(devices=3)
    with pytest.raises(UserError, match="devices is 3, but torch sees 2 CUDA devices"):
        [*map_images(square, items(1), total=1, execution=execution, networks=True)]
    with pytest.raises(UserError, match="devices is 3, but torch sees 2 CUDA devices"):
        [*launch(lambda start: iter(()), None, execution=execution)]


def test_another_engine_is_a_module_and_a_line(monkeypatch):
    @contextmanager
    def pool(function, *, total, execution, networks):
        yield 3, lambda *arguments: lambda: ("elsewhere", function(*arguments))

    module = SimpleNamespace(pool=pool, launch=lambda loop, *, execution: loop())
    monkeypatch.setitem(sys.modules, "elsewhere", module)
    monkeypatch.setitem(ENGINES, "third", "elsewhere")
    execution = Execution(engine="third")
    found = [*map_images(square, items(9), total=9, execution=execution)]
    assert found == [(name, ("elsewhere", n * n)) for name, n in items(9)]
    assert [*launch(lambda start: iter("ab"), "", execution=execution)] == ["a", "b"]


def test_an_engine_that_is_not_installed_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(ENGINES, "ray", "affinitynet.execution.no_such_engine")
    with pytest.raises(UserError, match=r"pip install \"affinitynet\[cluster\]\""):
        [*map_images(square, items(1), total=1, execution=Execution(engine="ray"))]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"engine": "spark"}, "engine\n.*local or ray"),
        ({"devices": 0}, "devices\n.*greater than 0"),
        ({"worker_cpus": 0}, "worker_cpus\n.*greater than 0"),
        ({"devices": 2, "device": "cuda:1"}, "device is 'cuda:1', one device"),
    ],
)
def test_parameters_are_checked(wrong, message):
    with pytest.raises(ValueError, match=message):
        Execution(**wrong)
