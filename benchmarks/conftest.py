"""Measuring: ours against a plain baseline in one run, peak memory, and a table at the end."""

import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from itertools import count
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pytest


def duration(seconds: float) -> str:
    return f"{seconds:.3g} s" if seconds >= 1 else f"{1000 * seconds:.3g} ms"


COLUMNS = {  # of the table: how each figure is written
    "time": duration,
    "baseline": duration,
    "ratio": "{:.3g}×".format,
    "difference": "{:.1g}".format,
    "memory": "{:,.0f} MB".format,
    "baseline memory": "{:,.0f} MB".format,
    "throughput": "{:.3g} img/s".format,
    "on disk": "{:.3g} kB/img".format,
    "float32": duration,
    "bfloat16": "{:.3g}× as long".format,
    "auto takes": lambda bfloat16: "bfloat16" if bfloat16 else "float32",
}
ROWS = pytest.StashKey[dict[str, dict[str, float]]]()

Record = Callable[..., None]
Compare = Callable[..., None]
PeakMemory = Callable[..., float]


def pytest_configure(config: pytest.Config) -> None:
    config.stash[ROWS] = {}


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    rows = config.stash[ROWS]
    used = [name for name in COLUMNS if any(name in figures for figures in rows.values())]
    cells = [["benchmark", *used]]
    for title, figures in rows.items():
        cells.append([title, *(COLUMNS[n](figures[n]) if n in figures else "" for n in used)])
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    cells.insert(1, ["-" * width for width in widths])
    terminalreporter.section("benchmarks")
    for row in cells:
        line = " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        terminalreporter.write_line(f"| {line} |")


@pytest.fixture
def record(request: pytest.FixtureRequest, benchmark: Any) -> Record:
    """Add a row to the table at the end and to `--benchmark-json`: its title and `COLUMNS`."""

    def add(title: str, **figures: float) -> None:
        row = {name.replace("_", " "): value for name, value in figures.items()}
        benchmark.extra_info[title] = row
        request.config.stash[ROWS][title] = row

    return add


@pytest.fixture
def compare(benchmark: Any, record: Record) -> Compare:
    """Time a function against its baseline, taking turns, and check that they agree.

    Their best times count: what else a machine does only makes them longer, and may hit either.
    """

    def run(
        title: str,
        ours: Callable[[], Any],
        baseline: Callable[[], Any],
        *,
        tolerance: float,
        difference: Callable[[Any, Any], float] = largest_difference,
        turns: int = 3,
        calls: int = 5,
        images: int = 0,
        **figures: float,
    ) -> None:
        """Record time, baseline, ratio and difference.

        Args:
            title: Of the row.
            ours: What is measured, `calls` times a turn.
            baseline: What it is measured against, once a turn.
            tolerance: Largest `difference` of the results that is allowed.
            difference: Of the two results.
            turns: How often both are measured.
            calls: See `ours`.
            images: Photos that a call does, for the throughput.
            figures: Further ones for the row.
        """
        expected, times, call = baseline(), [], count()

        def baseline_in_its_turn() -> None:
            if next(call) % calls == 0:
                start = time.perf_counter()
                baseline()
                times.append(time.perf_counter() - start)

        result = benchmark.pedantic(ours, setup=baseline_in_its_turn, rounds=turns * calls)
        apart = difference(result, expected)
        assert apart <= tolerance
        best, plain = benchmark.stats.stats.min, min(times)
        if images:
            figures["throughput"] = images / best
        record(
            title,
            time=best,
            baseline=plain,
            ratio=plain / best,
            difference=apart,
            **figures,
        )

    return run


def largest_difference(ours: Any, baseline: Any) -> float:
    return float(np.abs(np.asarray(ours) - np.asarray(baseline)).max())


@pytest.fixture(scope="session")
def peak_memory() -> PeakMemory:
    """Measure the megabytes that a call adds at most to a fresh process, its inputs included."""

    def measure(function: Callable[..., Any], *arguments: Any) -> float:
        with fresh_process() as process:
            peak: float = process.submit(_peak, function, arguments).result()
        return peak

    return measure


def fresh_process() -> ProcessPoolExecutor:
    return ProcessPoolExecutor(1, mp_context=get_context("spawn"))


def _peak(function: Callable[..., Any], arguments: tuple[Any, ...]) -> float:
    before = resident("VmRSS")
    function(*arguments)
    return resident("VmHWM") - before


def resident(field: str) -> float:
    """Return the megabytes of this process's memory: now (VmRSS) or at its peak (VmHWM).

    Linux's `ru_maxrss` will not do: a process takes it over from the one that started it.
    """
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(status.split(f"{field}:")[1].split()[0]) / 1024
