"""Stage 4: the random walk along affinities, which revises the CAMs (paper, section 3.3)."""

from collections.abc import Iterable, Iterator, Sequence
from copy import copy
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch.nn.utils.rnn import pad_sequence

from affinitynet.core.affinity import pair_affinities
from affinitynet.core.checkpoint import Checkpoint
from affinitynet.core.class_maps import ClassMaps
from affinitynet.core.random_walk import propagate, symmetric_transition, walk_many
from affinitynet.data.files import Arrays
from affinitynet.stages.batches import Batch
from affinitynet.stages.parameters import RandomWalk
from affinitynet.stages.predictor import FeatureExtractor, NetworkStage


class RandomWalker(NetworkStage[ClassMaps]):
    """The random walk that spreads CAMs and background: vec M* = T^t vec M.

    A batch's inputs are the photos' CAMs.
    """

    def __init__(self, checkpoint: Checkpoint, walk: RandomWalk, device: torch.device) -> None:
        self.walk = walk
        self.reader = self.features = FeatureExtractor(checkpoint, walk, device)

    def replace(self, **changes: Any) -> "RandomWalker":
        """Return a walker with the same network and other values of `alpha`, `beta`, `steps`."""
        other = copy(self)
        other.walk = replace(self.walk, **changes)
        return other

    def stream(self, batches: Iterable[Batch]) -> Iterator[tuple[str, ClassMaps]]:
        """Revise the CAMs of each photo."""
        walk = self.walk
        for batch, features in self.features(batches):
            grid = (features.shape[-2], features.shape[-1])
            cams = [each.resize(grid).with_background(walk.alpha) for each in batch.inputs]
            scores = [torch.from_numpy(each.maps).to(features.device) for each in cams]
            revised = propagate(
                pad_sequence(scores, batch_first=True),  # with maps of zeros, where tags are fewer
                features,
                radius=walk.radius,
                beta=walk.beta,
                steps=walk.steps,
            )
            self.features.check(batch, revised)
            for image_id, each, planes in zip(
                batch.ids, cams, revised.half().cpu().numpy(), strict=True
            ):
                yield image_id, ClassMaps(each.labels, planes[: len(each.labels)])


class StepwiseWalker(NetworkStage[Arrays]):
    """The random walk after several numbers of steps, which share one recurrence.

    A batch's inputs are the photos' CAMs. The results are `labels` (K + 1,), `steps` (T,) and
    `maps` (T, K + 1, h, w) float16.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        walk: RandomWalk,
        device: torch.device,
        *,
        steps: Sequence[int],
    ) -> None:
        self.walk, self.steps = walk, steps
        self.reader = self.features = FeatureExtractor(checkpoint, walk, device)

    def stream(self, batches: Iterable[Batch]) -> Iterator[tuple[str, Arrays]]:
        """Walk from the CAMs of each photo."""
        walk = self.walk
        for batch, features in self.features(batches):
            grid = (features.shape[-2], features.shape[-1])
            for image_id, own, given in zip(batch.ids, features, batch.inputs, strict=True):
                cams = given.resize(grid).with_background(walk.alpha)
                scores = torch.from_numpy(cams.maps).to(own.device)
                transition = symmetric_transition(own, radius=walk.radius, beta=walk.beta)
                maps = walk_many(scores, *transition, steps=self.steps).half().cpu().numpy()
                yield (
                    image_id,
                    {"labels": cams.labels, "steps": np.array(self.steps), "maps": maps},
                )


class AffinityExtractor(NetworkStage[Arrays]):
    """Affinities of neighbouring cells, before any exponent: (P, h, w) float16 in [0, 1]."""

    def __init__(self, checkpoint: Checkpoint, walk: RandomWalk, device: torch.device) -> None:
        self.radius = walk.radius
        self.reader = self.features = FeatureExtractor(checkpoint, walk, device)

    def stream(self, batches: Iterable[Batch]) -> Iterator[tuple[str, Arrays]]:
        """Compute the affinities of each photo."""
        for batch, features in self.features(batches):
            affinities = pair_affinities(features, radius=self.radius).half().cpu().numpy()
            for image_id, planes in zip(batch.ids, affinities, strict=True):
                yield image_id, {"affinities": planes}
