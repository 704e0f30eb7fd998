"""Measure everything that a GPU does here, in eight minutes at most.

    python scripts/gpu_check.py [--photos <folder of JPEGs>] [--limit 480] [--out gpu_check]

Photos are rendered scenes in the sizes of PASCAL VOC, or those of a folder. Each part runs in a
process of its own and for a limited time; what the parts before it have measured is in
`<out>/results.jsonl` and, as the tables of docs/gpu.md, in `<out>/results.md`, both written after
each part. `--device cpu --count 8` tries the script out where there is no GPU.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

PROJECT = Path(__file__).parents[1]
SIZES = ((500, 375, 45), (375, 500, 14), (500, 333, 14), (333, 500, 8))
"""The commonest sizes of VOC's photos, and their share in percent; others have any short side."""
SCENES = 32
"""Scenes that are rendered; the photos are cut out of them."""
VOC = 10582
"""Photos of VOC's train_aug."""

CLASSES = {f"class {number}": number for number in range(1, 21)}
NETWORKS: dict[str, dict[str, Any]] = {
    "lite0": {
        "backbone": {"name": "tf_efficientnet_lite0", "weights": None, "output_stride": 16},
        "scales": [(1.0, 16), (1.5, 16), (2.0, 16)],
        "long_side": 256,
        "crop": 224,
        "batch_size": 32,
    },
    "lite0_500": {
        "backbone": {"name": "tf_efficientnet_lite0", "weights": None, "output_stride": 16},
        "scales": [(0.5, 8), (1.0, 8), (1.5, 8), (2.0, 8)],
        "long_side": None,
        "crop": 448,
        "batch_size": 16,
    },
    "resnet50": {
        "backbone": {"name": "resnet50", "weights": None, "output_stride": 16},
        "scales": [(1.0, 16), (1.5, 16), (2.0, 16)],
        "long_side": 256,
        "crop": 224,
        "batch_size": 32,
    },
    "resnet38": {
        "backbone": {"name": "resnet38", "weights": None, "output_stride": 8},
        "scales": [(0.5, 8), (1.0, 8), (1.5, 8), (2.0, 8)],
        "long_side": None,
        "crop": 448,
        "batch_size": 16,
    },
}

Row = dict[str, Any]


def draw_sizes(count: int) -> Iterator[tuple[int, int]]:
    """Draw widths and heights as VOC's photos have them."""
    pick = random.Random(0)
    others = 100 - sum(share for *_, share in SIZES)
    for _ in range(count):
        width, height, _ = pick.choices(
            [*SIZES, (500, 0, others)], [share for *_, share in SIZES] + [others]
        )[0]
        if not height:
            width, height = pick.choice([(500, side := pick.randrange(250, 501)), (side, 500)])
        yield width, height


def _render(seed: int) -> Image.Image:
    from affinitynet.pipelines.scenes.render import render_scene

    scene = Image.fromarray(render_scene(seed, long_side=500).image)
    return scene.resize((500, 500))


def write_photos(folder: Path, count: int) -> None:
    """Write photos in VOC's sizes, cut out of rendered scenes."""
    folder.mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor() as pool:
        scenes = list(pool.map(_render, range(min(SCENES, count))))
    for number, (width, height) in enumerate(draw_sizes(count)):
        photo = scenes[number % len(scenes)].crop((0, 0, width, height))
        photo.save(folder / f"{number:05d}.jpg", quality=90)


def open_photos(
    folder: Path, count: int, shape: tuple[int, int] | None = None
) -> tuple[pd.DataFrame, dict[str, Callable[[], Image.Image]]]:
    """List photos as an index and readers.

    Args:
        folder: JPEGs.
        count: At most.
        shape: Width and height that all are resized to; None leaves them as they are.
    """
    files = sorted(folder.glob("*.jpg"))
    files = (files * (count // max(1, len(files)) + 1))[:count]
    photos = {f"{i:05d}": partial(_open, file, shape) for i, file in enumerate(files)}
    sizes = [shape or Image.open(file).size for file in files]
    return pd.DataFrame(sizes, columns=["width", "height"], index=list(photos)), photos


def _open(file: Path, shape: tuple[int, int] | None) -> Image.Image:
    photo = Image.open(file)
    return photo.resize(shape) if shape else photo


def _wait(device: str) -> None:
    import torch

    if device == "cuda":
        torch.cuda.synchronize()


def _peak(device: str) -> float | None:
    import torch

    return round(torch.cuda.max_memory_reserved() / 2**30, 1) if device == "cuda" else None


def _cam(network: Any, images: Any) -> Any:
    return network.cam(images)


def _score(index: Any, photos: Any, model: Any, options: Any, execution: Any) -> dict[str, Any]:
    """Photo id to its activations."""
    from affinitynet.execution import pick_device
    from affinitynet.stages.predictor import Predictor

    predictor = Predictor(model, _cam, options, pick_device(execution))
    sizes = dict(zip(index.index, zip(index["height"], index["width"], strict=True), strict=True))
    return {
        image_id: own
        for batch, scores in predictor(predictor.read(sizes, photos))
        for image_id, own in zip(batch.ids, scores, strict=True)
    }


def _initial(network: str, kind: str = "cam", **head: Any) -> Any:
    from affinitynet.networks.checkpoint import initialise

    backbone = NETWORKS[network]["backbone"]
    config = {"kind": kind, "classes": CLASSES, "backbone": backbone, "head": head}
    return initialise(config, seed=0)


def inference(folder: Path, device: str, count: int, network: str, shapes: str) -> Iterator[Row]:
    """CAMs of photos: all of one shape, or of as many shapes as VOC has."""
    from affinitynet.execution import Execution
    from affinitynet.networks.parameters import InferenceParameters

    of = NETWORKS[network]
    index, photos = open_photos(folder, count, (500, 375) if shapes == "one shape" else None)
    options = InferenceParameters(
        long_side=of["long_side"],
        scales=of["scales"],
        flip=True,
        cell=8,
        batch_size=32,
        bfloat16=device == "cuda",
    )
    model, execution = _initial(network), Execution(device=device)
    seconds = []
    for _ in range(2):
        begin = time.perf_counter()
        assert len(_score(index, photos, model, options, execution)) == count
        _wait(device)
        seconds.append(time.perf_counter() - begin)
    yield {
        "part": "inference",
        "network": network,
        "photos": count,
        "shapes": f"{shapes} ({len(index.drop_duplicates())})",
        "first pass, photos/s": round(count / seconds[0], 1),
        "second pass, photos/s": round(count / seconds[1], 1),
        "peak, GiB": _peak(device),
    }


def training(folder: Path, device: str, count: int, network: str, source: str) -> Iterator[Row]:
    """Steps of the classifier's training: with photos that are read, or with one that is ready."""
    import torch
    from torch.utils.data import Dataset

    from affinitynet.execution import Execution, pick_device
    from affinitynet.training.loop import train
    from affinitynet.training.losses import classification_loss
    from affinitynet.training.parameters import Augmentation, TrainingParameters
    from affinitynet.training.samples import TaggedPhotos

    of = NETWORKS[network]
    crop, batch_size = of["crop"], min(of["batch_size"], count)
    tags = np.eye(len(CLASSES), dtype=np.float32)[0]

    class Ready(Dataset[Any]):
        photo = torch.rand(3, crop, crop)

        def __len__(self) -> int:
            return count

        def __getitem__(self, _: int) -> Any:
            return self.photo, torch.from_numpy(tags)

    samples: Dataset[Any] = Ready()
    if source == "photos":
        index, photos = open_photos(folder, count)
        augmentation = Augmentation(crop=crop, long_side=(crop, crop * 5 // 4), hue=0.1)
        labels = dict.fromkeys(index.index, tags)
        samples = TaggedPhotos([*photos], photos, labels, augmentation, cache_megabytes=0)
    parameters = TrainingParameters(
        epochs=3,
        batch_size=batch_size,
        precision="bfloat16" if device == "cuda" else "float32",
        compile=source == "compiled",
    )
    where = pick_device(Execution(device=device))
    times = [time.perf_counter()]
    for _ in train(
        _initial(network), samples, classification_loss, parameters, seed=0, device=where
    ):
        times.append(time.perf_counter())
    steps = count // batch_size
    yield {
        "part": "training",
        "network": network,
        "crop": crop,
        "batch": batch_size,
        "samples": source,
        "first epoch, ms/step": round(1000 * (times[1] - times[0]) / steps, 1),
        "third epoch, ms/step": round(1000 * (times[3] - times[2]) / steps, 1),
        "photos/s": round(steps * batch_size / (times[3] - times[2]), 1),
        "peak, GiB": _peak(device),
    }


def walk(folder: Path, device: str, count: int) -> Iterator[Row]:
    """The random walk on the grid of a photo of 500 x 375, by batch."""
    import torch

    from affinitynet.core.random_walk import propagate

    generator = torch.Generator().manual_seed(0)
    for batch in (1, 8, 32):
        features = torch.rand(batch, 448, 47, 63, generator=generator).to(device)
        maps = torch.rand(batch, 3, 47, 63, generator=generator).to(device)
        propagate(maps, features)
        _wait(device)
        begin = time.perf_counter()
        propagate(maps, features)
        _wait(device)
        seconds = time.perf_counter() - begin
        yield {
            "part": "walk",
            "batch": batch,
            "photos/s": round(batch / seconds, 1),
            "peak, GiB": _peak(device),
        }


def crf(folder: Path, device: str, count: int) -> Iterator[Row]:
    """The dense CRF on all cores, photos of VOC's sizes with three labels."""
    from affinitynet.execution.parameters import cores

    index, photos = open_photos(folder, min(count, 8 * cores()))
    with ProcessPoolExecutor(cores()) as pool:
        [*pool.map(_refine, [*photos.values()][: cores()])]
        begin = time.perf_counter()
        [*pool.map(_refine, photos.values())]
        seconds = time.perf_counter() - begin
    yield {"part": "crf", "cores": cores(), "photos/s": round(len(index) / seconds, 1)}


def _refine(read: Callable[[], Image.Image]) -> None:
    from affinitynet.core.dense_crf import CRFParameters, refine, unary_from_labels

    photo = np.asarray(read().convert("RGB"))
    labels = (np.indices(photo.shape[:2]).sum(axis=0) // 150 % 3).astype(np.uint8)
    unary = unary_from_labels(labels, 3, confidence=0.7)
    refine(photo, unary, CRFParameters(reference_side=500.0))


def repeat(folder: Path, device: str, count: int) -> Iterator[Row]:
    """The same seed twice: do weights and scores agree?"""
    import torch

    from affinitynet.execution import Execution, pick_device
    from affinitynet.networks.parameters import InferenceParameters
    from affinitynet.training.loop import train
    from affinitynet.training.losses import classification_loss
    from affinitynet.training.parameters import Augmentation, TrainingParameters
    from affinitynet.training.samples import TaggedPhotos

    index, photos = open_photos(folder, min(count, 64))
    tags = dict.fromkeys(photos, np.eye(len(CLASSES), dtype=np.float32)[0])
    samples = TaggedPhotos([*photos], photos, tags, Augmentation(crop=128, long_side=(128, 160)))
    parameters = TrainingParameters(epochs=2, batch_size=min(8, len(index)))
    execution = Execution(device=device)
    options = InferenceParameters(
        long_side=256, scales=((1.0, 16),), flip=True, cell=8, batch_size=8, bfloat16=False
    )

    def once() -> tuple[dict[str, torch.Tensor], torch.Tensor]:
        where = pick_device(execution)
        *_, last = train(
            _initial("lite0"), samples, classification_loss, parameters, seed=0, device=where
        )
        scored = _score(index, photos, last, options, execution).items()
        scores = {image_id: own.cpu().flatten() for image_id, own in scored}
        return last.weights, torch.cat([scores[i] for i in sorted(scores)])

    (weights, scores), (others, again) = once(), once()
    apart = max(float((weights[k].double() - others[k].double()).abs().max()) for k in weights)
    yield {
        "part": "repeat",
        "weights, largest difference": apart,
        "scores, largest difference": float((scores - again).abs().max()),
    }


def tests(folder: Path, device: str, count: int) -> Iterator[Row]:
    """tests/system/test_cuda.py, where pytest and what the tests need are installed."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*command, "tests/system/test_cuda.py"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )
    lines = done.stdout.strip().splitlines() or done.stderr.strip().splitlines() or [""]
    failed = [line for line in lines if line.startswith(("FAILED", "ERROR"))]
    yield {"part": "tests", "result": lines[-1].strip("= "), "failed": "; ".join(failed)}


PARTS: dict[str, tuple[Callable[..., Iterator[Row]], int, tuple[str, ...], int]] = {
    # name: (function, photos, arguments, seconds at most)
    "lite0, shapes": (inference, 260, ("lite0", "VOC's shapes"), 60),
    "lite0, one shape": (inference, 260, ("lite0", "one shape"), 45),
    "resnet50, shapes": (inference, 260, ("resnet50", "VOC's shapes"), 60),
    "resnet50, one shape": (inference, 260, ("resnet50", "one shape"), 45),
    "resnet38, shapes": (inference, 96, ("resnet38", "VOC's shapes"), 75),
    "resnet38, one shape": (inference, 96, ("resnet38", "one shape"), 60),
    "train resnet38": (training, 160, ("resnet38", "ready"), 60),
    "train lite0 from photos": (training, 1280, ("lite0", "photos"), 45),
    "train lite0": (training, 1280, ("lite0", "ready"), 45),
    "walk": (walk, 1, (), 30),
    "crf": (crf, 128, (), 40),
    "repeat": (repeat, 64, (), 40),
    "lite0_500, shapes": (inference, 260, ("lite0_500", "VOC's shapes"), 60),
    "tests": (tests, 1, (), 150),
    "train lite0 compiled": (training, 640, ("lite0", "compiled"), 120),
}


def tabulate(rows: list[Row], machine: str) -> str:
    """Write the tables of docs/gpu.md."""
    text = [f"Measured on {machine}.", ""]
    for part in dict.fromkeys(row["part"] for row in rows):
        own = [{k: v for k, v in row.items() if k != "part"} for row in rows if row["part"] == part]
        names = list(dict.fromkeys(name for row in own for name in row))
        cells = [
            ["–" if row.get(name) in (None, "") else str(row[name]) for name in names]
            for row in own
        ]
        lines = ["| " + " | ".join(line) + " |" for line in (names, ["---"] * len(names), *cells)]
        text += [f"## {part}", "", *lines, ""]
    text += ["## rates", "", *_ratios(rows), ""]
    return "\n".join(text)


def _ratios(rows: list[Row]) -> Iterator[str]:
    """What follows from the rows: the ratio that is aimed at, and times for the whole of VOC."""
    of = {
        (row["network"], row["shapes"].split(" (")[0]): row
        for row in rows
        if row["part"] == "inference"
    }
    for network in NETWORKS:
        one, many = of.get((network, "one shape")), of.get((network, "VOC's shapes"))
        if one and many:
            for name in ("first pass, photos/s", "second pass, photos/s"):
                ratio = many[name] / one[name]
                yield f"- {network}, {name}: VOC's shapes at {ratio:.0%} of one shape"
        if many:
            minutes = VOC / many["second pass, photos/s"] / 60
            yield f"- {network}: CAMs of {VOC:,} photos in {minutes:.1f} min at this rate"
    for row in rows:
        if row["part"] == "training":
            minutes = VOC / row["photos/s"] / 60
            yield (
                f"- {row['network']}, {row['samples']}: an epoch of {VOC:,} photos in "
                f"{minutes:.1f} min at this rate"
            )
        if row["part"] in ("walk", "crf"):
            minutes = VOC / row["photos/s"] / 60
            yield f"- {row['part']}: {VOC:,} photos in {minutes:.1f} min at this rate"


def describe(device: str) -> str:
    """Name the card, the cores, torch and the day."""
    import torch

    name = torch.cuda.get_device_name() if device == "cuda" else "no GPU"
    cores = len(os.sched_getaffinity(0))
    return f"{name}, {cores} cores, torch {torch.__version__}, {date.today()}"


def main() -> None:
    """Run the parts one after the other, or one of them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--photos", type=Path, help="folder of JPEGs instead of rendered scenes")
    parser.add_argument("--limit", type=float, default=480, help="seconds at most")
    parser.add_argument("--out", type=Path, default=Path("gpu_check"), help="folder of the results")
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    parser.add_argument("--count", type=int, help="photos a part, instead of its own number")
    parser.add_argument("--only", help="run the parts whose names contain this")
    parser.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)
    given = parser.parse_args()
    folder = given.photos or given.out / "photos"
    if given.part:
        function, count, arguments, _ = PARTS[given.part]
        for row in function(folder, given.device, given.count or count, *arguments):
            print(json.dumps(row), flush=True)
        return
    end = time.monotonic() + given.limit
    given.out.mkdir(parents=True, exist_ok=True)
    if not given.photos:
        write_photos(folder, given.count or 260)
    machine, rows = describe(given.device), []
    for name, (*_, most) in PARTS.items():
        left = end - time.monotonic()
        if given.only and given.only not in name:
            continue
        if left < 10:
            print(f"{name}: left out, no time", flush=True)
            continue
        command = [sys.executable, __file__, "--part", name, "--device", given.device]
        command += [
            "--photos",
            str(folder),
            *(["--count", str(given.count)] if given.count else []),
        ]
        begin = time.monotonic()
        found, error = run(command, min(left, most))
        print(f"{name}: {time.monotonic() - begin:.0f} s {error}", flush=True)
        rows += found
        with (given.out / "results.jsonl").open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(row | {"machine": machine}) + "\n" for row in found)
        (given.out / "results.md").write_text(tabulate(rows, machine), encoding="utf-8")
    print(tabulate(rows, machine))


def run(command: list[str], seconds: float) -> tuple[list[Row], str]:
    """Run a part; keep the rows that it has printed even where it is stopped."""
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        out, errors = process.communicate(timeout=seconds)
        error = "" if process.returncode == 0 else (errors.strip().splitlines() or ["failed"])[-1]
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, 9)  # with the processes that read photos
        out, _ = process.communicate()
        error = f"stopped after {seconds:.0f} s"
    lines = [line for line in out.splitlines() if line.startswith('{"part"')]
    return [json.loads(line) for line in lines], error


if __name__ == "__main__":
    main()
