"""float32, bfloat16 and what `auto` takes, on the instructions that oneDNN is held to."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest

ISAS = {  # what each needs of the processor, as torch names it
    "AVX2": "avx2",
    "AVX512_CORE": "avx512_bw",
    "AVX512_CORE_BF16": "avx512_bf16",
    "AVX512_CORE_AMX": "amx_bf16",
}
SECONDS = 3.0  # what a work is repeated for; once at least, as emulated bfloat16 takes long
PHOTOS, SIDE = 2, 96


def training_step(precision: str) -> Callable[[], Any]:
    """Two steps of the classifier, as the embedded default trains it."""
    import torch
    from torch.utils.data import TensorDataset

    from affinitynet.networks.checkpoint import initialise
    from affinitynet.training.loop import train
    from affinitynet.training.losses import classification_loss
    from affinitynet.training.parameters import TrainingParameters

    samples = TensorDataset(
        torch.rand(2 * PHOTOS, 3, SIDE, SIDE), torch.randint(2, (2 * PHOTOS, 4)).float()
    )
    initial = initialise(_config(16), seed=0)
    parameters = TrainingParameters(epochs=1, batch_size=PHOTOS, precision=precision)  # type: ignore[arg-type]
    return lambda: list(
        train(initial, samples, classification_loss, parameters, seed=0, device="cpu")
    )


def inference(precision: Any) -> Callable[[], Any]:
    """CAMs of photos at the scales of the embedded default."""
    import torch

    from affinitynet.networks.checkpoint import initialise
    from affinitynet.networks.inference import multi_scale, scorers

    checkpoint = initialise(_config(8), seed=0)
    scores_at = scorers(checkpoint, lambda net, images: net.cam(images), [(1.0, 8), (1.5, 16)])
    images = torch.randint(256, (PHOTOS, 3, SIDE, SIDE), dtype=torch.uint8)
    return lambda: multi_scale(scores_at, images, bfloat16=precision)


def _config(stride: int) -> dict[str, Any]:
    return {
        "kind": "cam",
        "classes": dict.fromkeys("abcd", 0),
        "backbone": {"name": "tf_efficientnet_lite0", "output_stride": stride},
        "head": {},
    }


WORK = {"two training steps": training_step, "CAMs": inference}


def best_times() -> dict[str, Any]:
    """The best time of each work in each precision, in this process; and what `auto` takes.

    CPU seconds of one thread, which other processes of the machine do not lengthen much.
    """
    import torch

    from affinitynet.networks.precision import uses_bfloat16

    torch.set_num_threads(1)
    times: dict[str, Any] = {"auto takes bfloat16": uses_bfloat16("auto", torch.device("cpu"))}
    for title, make in WORK.items():
        times[title] = {name: best_time(make(name)) for name in ("float32", "bfloat16")}
    return times


def best_time(call: Callable[[], Any]) -> float:
    call()  # warms up
    times: list[float] = []
    while sum(times) < SECONDS:
        start = time.process_time()
        call()
        times.append(time.process_time() - start)
    return min(times)


@pytest.mark.parametrize("isa", ISAS)
def test_precision(isa: str, record: Any, benchmark: Any) -> None:
    """In a process of its own, as oneDNN reads the limit once."""
    import torch

    if not torch.cpu.get_capabilities().get(ISAS[isa]):
        pytest.skip(f"this processor has no {isa}")
    environment = os.environ | {"ONEDNN_MAX_CPU_ISA": isa}
    command = [sys.executable, __file__]
    answer = benchmark.pedantic(
        lambda: subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True).stdout,
        rounds=1,
    )
    times = json.loads(answer)
    for title in WORK:
        best = times[title]
        record(
            f"{title}, {PHOTOS} x {SIDE} x {SIDE}, {isa}",
            float32=best["float32"],
            bfloat16=best["bfloat16"] / best["float32"],
            auto_takes=times["auto takes bfloat16"],
        )


if __name__ == "__main__":
    print(json.dumps(best_times()))
