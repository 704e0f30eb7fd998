"""How long a run will take on this machine: estimated at its start, compared at its end."""

import logging
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from time import perf_counter
from timeit import repeat
from typing import Any

import numpy as np
import pandas as pd
from kedro.framework.hooks import hook_impl
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node

from affinitynet.networks.parameters import InferenceParameters
from affinitynet.pipelines.parameters import CAM, AffinityTraining, Parameters, Segmentation
from affinitynet.runs.context import RunContext
from affinitynet.runs.photos import INDEX
from affinitynet.runs.record import RunRecord, read_records

logger = logging.getLogger(__name__)

NETWORK = {
    "tag_check.predict": 0.2,
    "cam.train": 1.0,
    "cam.find_prototypes": 0.24,
    "cam.infer": 0.24,
    "affinity_training.train": 1.3,
    "revision.walk": 1.3,
    "segmentation.train": 1.25,
    "segmentation.predict": 0.6,
    "tagged_masks.score_within_tags": 0.6,
}
"""Seconds for a megapixel, as multiples of those for training the classifier (VOC's animals)."""

CRF = {
    "affinity_labels.label": 1.1,
    "revision.refine": 1.1,
    "tagged_masks.label": 1.1,
    "self_training.relabel": 1.1,
}
"""Seconds for a megapixel, as multiples of those for a dense CRF, divided by the processes."""

CHOICE = {"revision.choose": 0.007}
"""Seconds for a megapixel and a setting, as multiples of those for a dense CRF."""

PROBED, STEPS = 2, 4
"""Photos in a timed step of the classifier, and such steps. The fastest counts: the first one warms
up, and others may wait for what else the machine does."""


class RunTimes:
    """Tell how long the nodes of a run will take, and keep how long they took in its record."""

    @hook_impl
    def after_context_created(self, context: RunContext) -> None:
        """Keep the context."""
        self.context = context

    @hook_impl
    def before_pipeline_run(self, pipeline: Pipeline) -> None:
        """Keep the nodes in their order."""
        self._nodes = [node.name for node in pipeline.nodes]

    @hook_impl(trylast=True)
    def before_node_run(self, inputs: dict[str, Any]) -> None:
        """Tell the times before the first node that is given the index; start the clock.

        A resumed run tells and keeps none, as its nodes may do a part of their work only.
        """
        record, index = self.context.record, inputs.get(INDEX)
        fresh = record and not record.work and not self.context.resumed
        if record and fresh and isinstance(index, pd.DataFrame):
            self._tell(record, index)
        self._started = perf_counter()

    @hook_impl
    def after_node_run(self, node: Node) -> None:
        """Note the node's seconds."""
        self._note(node)

    @hook_impl
    def after_dataset_saved(self, node: Node) -> None:
        """Note them again: a node that yields has only begun when Kedro calls it run."""
        self._note(node)

    def _note(self, node: Node) -> None:
        if (record := self.context.record) and not self.context.resumed:
            taken = round(perf_counter() - self._started, 2)
            self.context.record = replace(record, seconds=record.seconds | {node.name: taken})

    def _tell(self, record: RunRecord, index: pd.DataFrame) -> None:
        left = [name for name in self._nodes if name in {*record.nodes} - record.seconds.keys()]
        work = measure_work(index, self.context.checked, left)
        earlier = [run for run in read_records(self.context.records) if _is_like(run, record)]
        rates = read_rates(earlier)
        unknown = {*left} & (NETWORK.keys() | CRF.keys() | CHOICE.keys()) - rates.keys()
        if unknown and self.context.checked.execution.in_process:
            rates = probe_rates(self.context.checked) | rates
        estimated = {name: round(rates[name] * work[name], 1) for name in left if name in rates}
        self.context.record = replace(record, work=work, estimated=estimated)
        stages = {stage: value for stage, value in by_stage(estimated).items() if value >= 1}
        if stages:
            logger.info(
                "On this machine this will take about %s, by %s: %s.",
                format_seconds(sum(estimated.values())),
                f"the run {earlier[0].version}" if earlier else "a few timed steps",
                ", ".join(f"{stage} {format_seconds(value)}" for stage, value in stages.items()),
            )


def _is_like(run: RunRecord, now: RunRecord) -> bool:
    """Whether a run was made with this machine, network and device, and says its times."""
    same = ("cam.network.backbone.name", "execution.device", "execution.devices")
    return (
        bool(run.finished and run.work)
        and run.process.split()[:1] == now.process.split()[:1]
        and all(run.parameters.get(name) == now.parameters.get(name) for name in same)
    )


def measure_work(
    index: pd.DataFrame, parameters: Parameters, nodes: Collection[str]
) -> dict[str, float]:
    """Measure the work of nodes: megapixels of what is slow, photos of all else."""
    is_train = index["split"] == "train"
    train, val, every = int(is_train.sum()), int((~is_train).sum()), len(index)
    tagged = int((is_train & (index["tags"] != "")).sum())
    sides = index[["height", "width"]].to_numpy(float)
    shape = float((sides.min(axis=1) / sides.max(axis=1)).mean()) if len(index) else 1.0

    def area(long_side: int | None) -> float:
        side = long_side or float(np.mean(sides.max(axis=1)))
        return side**2 * shape / 1e6

    def scored(inference: InferenceParameters) -> float:
        times = sum(scale**2 for scale, _ in inference.scales) * (1 + inference.flip)
        return area(inference.long_side) * times

    def trained(photos: int, stage: CAM | AffinityTraining | Segmentation) -> float:
        return photos * stage.training.count_epochs(photos) * stage.augmentation.crop**2 / 1e6

    p = parameters
    walk, relabelled = area(p.revision.random_walk.long_side), area(p.revision.long_side)
    settings = p.search.walk.space.keep_given(p.revision.random_walk).settings()
    tried = len(settings) if len(settings) > 1 else 0
    compared = p.revision.random_walk.compared
    work = {
        "tag_check.predict": every * area(p.tag_check.features.long_side),
        "cam.train": trained(train, p.cam),
        "cam.find_prototypes": tagged * area(p.cam.inference.long_side) * p.cam.prototype_rounds,
        "cam.infer": tagged * scored(p.cam.inference),
        "affinity_labels.label": tagged * area(p.affinity_labels.long_side),
        "affinity_training.train": trained(tagged, p.affinity_training),
        "revision.choose": min(compared or tagged, tagged) * walk * tried,
        "revision.walk": tagged * walk,
        "revision.refine": tagged * relabelled,
        "self_training.relabel": tagged * relabelled,
        "segmentation.train": trained(tagged, p.segmentation),
        "segmentation.predict": val * scored(p.segmentation.inference),
        "tagged_masks.score_within_tags": every * scored(p.segmentation.inference),
        "tagged_masks.label": every * relabelled,
    }
    return {name: float(work.get(name, every)) for name in nodes}


def read_rates(runs: Iterable[RunRecord]) -> dict[str, float]:
    """Read the seconds for a unit of work of each node from the newest run that has it.

    Args:
        runs: Newest first.
    """
    rates: dict[str, float] = {}
    for run in runs:
        for name, work in run.work.items():
            if work and name in run.seconds:
                rates.setdefault(name, run.seconds[name] / work)
    return rates


def probe_rates(parameters: Parameters) -> dict[str, float]:
    """Time a step of the classifier and a dense CRF, and scale them to the slow nodes.

    Returns:
        Node to seconds for a megapixel.
    """
    network, crf = _time_step(parameters), _time_crf(parameters)
    return (
        {name: ratio * network for name, ratio in NETWORK.items()}
        | {name: ratio * crf / parameters.execution.processes for name, ratio in CRF.items()}
        | {name: ratio * crf for name, ratio in CHOICE.items()}
    )


def _time_step(parameters: Parameters) -> float:
    """Seconds for a megapixel of training the classifier."""
    import torch

    from affinitynet.execution import pick_device
    from affinitynet.networks.checkpoint import restore
    from affinitynet.networks.precision import uses_bfloat16
    from affinitynet.pipelines.training import initialise_classifier

    cam, device = parameters.cam, pick_device(parameters.execution)
    with torch.random.fork_rng(devices=[]):
        checkpoint = initialise_classifier(cam, {"object": 1}, parameters.seed)
        network = restore(checkpoint, device=device).train()
    for name, weights in network.named_parameters():
        weights.requires_grad_(not name.startswith(tuple(cam.training.frozen)))
    images = torch.zeros(PROBED, 3, cam.augmentation.crop, cam.augmentation.crop, device=device)
    images = images.contiguous(memory_format=torch.channels_last)
    half = uses_bfloat16(cam.training.precision, device)

    def step() -> None:
        with torch.autocast(device.type, torch.bfloat16, enabled=half):
            loss = network(images).float().sum()
        loss.backward()
        loss.item()

    return min(repeat(step, number=1, repeat=STEPS)) / (images[:, 0].numel() / 1e6)


def _time_crf(parameters: Parameters) -> float:
    """Seconds for a megapixel of the dense CRF with two classes, in one process."""
    from affinitynet.core.dense_crf import refine

    noise = np.random.default_rng(0)
    photo = noise.integers(0, 256, (96, 128, 3), np.uint8)
    photo = photo.repeat(2, axis=0).repeat(2, axis=1)
    unary = noise.random((3, *photo.shape[:2]), np.float32)
    taken = repeat(lambda: refine(photo, unary, parameters.revision.crf), number=1, repeat=STEPS)
    return min(taken) / float(unary[0].size / 1e6)


def by_stage(seconds: Mapping[str, float]) -> dict[str, float]:
    """Sum the seconds of nodes by stage, the part of their name before the dot."""
    stages: dict[str, float] = {}
    for name, value in seconds.items():
        stage = name.partition(".")[0]
        stages[stage] = stages.get(stage, 0.0) + value
    return stages


def format_seconds(seconds: float) -> str:
    """Write a duration in the unit that suits it: 40 s, 12 min, 3.5 h."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
