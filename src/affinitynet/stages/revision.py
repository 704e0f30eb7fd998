"""Stage 4: the random walk along affinities, which revises the CAMs (paper, section 3.3)."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.nn.utils.rnn import pad_sequence

from affinitynet.core.affinity import pair_affinities
from affinitynet.core.cams import background
from affinitynet.core.checkpoint import Checkpoint
from affinitynet.core.class_maps import ClassMaps
from affinitynet.core.images import upsample
from affinitynet.core.random_walk import (
    propagate,
    symmetric_transition,
    transition_from_affinities,
    walk_many,
)
from affinitynet.core.separation import RegionSums, sum_regions
from affinitynet.data.files import Arrays
from affinitynet.networks.affinity_net import WithLevels
from affinitynet.stages.batches import Batch
from affinitynet.stages.parameters import AutoRandomWalk, RandomWalk, WalkSpace
from affinitynet.stages.predictor import FeatureExtractor, NetworkStage

Walks = Mapping[str, RandomWalk]
"""Photo id to the values that it has of its own."""


def walks(
    affinities: npt.NDArray[np.floating[Any]], cams: ClassMaps, space: WalkSpace, *, radius: int
) -> Iterator[ClassMaps]:
    """Walk one image's CAMs at every setting of a grid.

    The settings share what they can: a beta has one transition matrix, all steps one recurrence,
    and as the walk is linear, the classes' maps walk once for all alphas beside one background
    each.

    Args:
        affinities: (P, H, W) in [0, 1].
        cams: The image's CAMs.
        space: Values of `alpha`, `beta` and `steps`.
        radius: Of the affinities' neighbourhood.

    Yields:
        The walked maps on the affinities' grid, background first, for each of `space.settings()`.
    """
    classes = torch.from_numpy(upsample(cams.maps, affinities.shape[-2:]))
    backgrounds = [background(classes, alpha) for alpha in space.alpha]
    scores = torch.cat([torch.stack(backgrounds), classes])
    labels = np.array([0, *cams.labels], np.uint8)
    for beta in space.beta:
        transition = transition_from_affinities(
            torch.from_numpy(affinities), radius=radius, beta=beta
        )
        walked = walk_many(scores, *transition, steps=space.steps).numpy().astype(np.float16)
        for alpha, _ in enumerate(backgrounds):
            for maps in walked:
                yield ClassMaps(labels, np.concatenate([maps[[alpha]], maps[len(backgrounds) :]]))


class RandomWalker(NetworkStage[ClassMaps]):
    """The random walk that spreads CAMs and background: vec M* = T^t vec M.

    A batch's inputs are the photos' CAMs.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        walk: RandomWalk,
        device: torch.device,
        *,
        by_photo: Walks | None = None,
    ) -> None:
        self.walk, self.by_photo = walk, by_photo or {}
        self.reader = self.features = FeatureExtractor(checkpoint, walk, device)

    def replace(self, **changes: Any) -> "RandomWalker":
        """Return a walker with the same network and other values of `alpha`, `beta`, `steps`."""
        other = copy(self)
        other.walk = replace(self.walk, **changes)
        return other

    def stream(self, batches: Iterable[Batch]) -> Iterator[tuple[str, ClassMaps]]:
        """Revise the CAMs of each photo."""
        for batch, features in self.features(batches):
            grid = (features.shape[-2], features.shape[-1])
            own = [self.by_photo.get(image_id, self.walk) for image_id in batch.ids]
            cams = [
                each.resize(grid).with_background(walk.alpha)
                for each, walk in zip(batch.inputs, own, strict=True)
            ]
            scores = pad_sequence(  # with maps of zeros, where tags are fewer
                [torch.from_numpy(each.maps).to(features.device) for each in cams],
                batch_first=True,
            )
            revised = torch.empty_like(scores, dtype=torch.float32)
            kinds = [(walk.beta, walk.steps) for walk in own]
            for beta, steps in dict.fromkeys(kinds):
                some = [i for i, kind in enumerate(kinds) if kind == (beta, steps)]
                revised[some] = propagate(
                    scores[some], features[some], radius=self.walk.radius, beta=beta, steps=steps
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
        by_photo: Walks | None = None,
    ) -> None:
        self.walk, self.steps, self.by_photo = walk, steps, by_photo or {}
        self.reader = self.features = FeatureExtractor(checkpoint, walk, device)

    def stream(self, batches: Iterable[Batch]) -> Iterator[tuple[str, Arrays]]:
        """Walk from the CAMs of each photo."""
        for batch, features in self.features(batches):
            grid = (features.shape[-2], features.shape[-1])
            for image_id, own, given in zip(batch.ids, features, batch.inputs, strict=True):
                walk = self.by_photo.get(image_id, self.walk)
                cams = given.resize(grid).with_background(walk.alpha)
                scores = torch.from_numpy(cams.maps).to(own.device)
                transition = symmetric_transition(own, radius=walk.radius, beta=walk.beta)
                maps = walk_many(scores, *transition, steps=self.steps).half().cpu().numpy()
                yield (
                    image_id,
                    {"labels": cams.labels, "steps": np.array(self.steps), "maps": maps},
                )


class WalkTrials(NetworkStage[RegionSums]):
    """What the label maps of many random walks group together, for each of `space.settings()`.

    The sums are of the backbone's maps. A batch's inputs are the photos' CAMs.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        walk: AutoRandomWalk,
        device: torch.device,
        *,
        space: WalkSpace,
    ) -> None:
        self.radius, self.space = walk.radius, space
        self.reader = self.features = FeatureExtractor(checkpoint, walk, device, adapt=WithLevels)

    def stream(self, batches: Iterable[Batch]) -> Iterator[tuple[str, RegionSums]]:
        """Try the walks of each photo's CAMs."""
        for batch, outputs in self.features(batches):
            for image_id, own, cams in zip(batch.ids, outputs.cpu(), batch.inputs, strict=True):
                *levels, features = own.split(self.features.network.channels)
                affinities = pair_affinities(features[None], radius=self.radius)[0].numpy()
                walked = walks(affinities, cams, self.space, radius=self.radius)
                label_maps = np.stack(
                    [each.maps.argmax(axis=0).astype(np.uint8) for each in walked]
                )
                labels = np.array([0, *cams.labels], np.uint8)
                yield image_id, sum_regions([level.numpy() for level in levels], label_maps, labels)


class AffinityExtractor(NetworkStage[Arrays]):
    """Affinities of neighbouring cells, before any exponent: (P, h, w) float16 in [0, 1]."""

    def __init__(self, checkpoint: Checkpoint, walk: AutoRandomWalk, device: torch.device) -> None:
        self.radius = walk.radius
        self.reader = self.features = FeatureExtractor(checkpoint, walk, device)

    def stream(self, batches: Iterable[Batch]) -> Iterator[tuple[str, Arrays]]:
        """Compute the affinities of each photo."""
        for batch, features in self.features(batches):
            affinities = pair_affinities(features, radius=self.radius).half().cpu().numpy()
            for image_id, planes in zip(batch.ids, affinities, strict=True):
                yield image_id, {"affinities": planes}
