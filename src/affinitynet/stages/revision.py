"""Stage 4: the random walk along affinities, which revises the CAMs (paper, section 3.3)."""

from collections.abc import Iterable, Iterator, Sequence
from copy import copy
from dataclasses import replace
from itertools import groupby
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from affinitynet.core.affinity import pair_affinities
from affinitynet.core.cams import background
from affinitynet.core.checkpoint import Checkpoint
from affinitynet.core.class_maps import ClassMaps
from affinitynet.core.images import upsample
from affinitynet.core.random_walk import transition_from_affinities, walk_many
from affinitynet.core.separation import RegionSums, sum_regions
from affinitynet.data.files import Arrays
from affinitynet.networks.affinity_net import WithLevels
from affinitynet.stages.batches import Batch
from affinitynet.stages.parameters import AutoRandomWalk, RandomWalk, WalkSetting
from affinitynet.stages.predictor import FeatureExtractor, NetworkStage


def walks(
    affinities: Tensor, cams: Tensor, settings: Sequence[WalkSetting], *, radius: int
) -> Iterator[Tensor]:
    """Walk CAMs at several settings.

    The settings share what they can: a beta has one transition matrix, all steps one recurrence,
    and as the walk is linear, the classes' maps walk once for all alphas beside one background
    each.

    Args:
        affinities: (N, P, H, W) in [0, 1], of N photos.
        cams: Their CAMs (N, K, H, W).
        settings: Those of one beta after each other.
        radius: Of the affinities' neighbourhood.

    Yields:
        The walked maps (N, K + 1, H, W), background first, for each of the settings.
    """
    for beta, group in groupby(settings, key=lambda setting: setting.beta):
        some = [*group]
        alphas = [*dict.fromkeys(setting.alpha for setting in some)]
        steps = [*dict.fromkeys(setting.steps for setting in some)]
        backgrounds = torch.stack([background(cams, alpha) for alpha in alphas], dim=1)
        transition = transition_from_affinities(affinities, radius=radius, beta=beta)
        walked = walk_many(torch.cat([backgrounds, cams], dim=1), *transition, steps=steps)
        for setting in some:
            maps, number = walked[steps.index(setting.steps)], alphas.index(setting.alpha)
            yield torch.cat([maps[:, [number]], maps[:, len(alphas) :]], dim=1)


def photo_walks(
    affinities: npt.NDArray[np.floating[Any]],
    cams: ClassMaps,
    settings: Sequence[WalkSetting],
    *,
    radius: int,
) -> Iterator[ClassMaps]:
    """Walk one photo's CAMs at several settings, see `walks`.

    Args:
        affinities: (P, H, W) in [0, 1].
        cams: The photo's, on a grid of any size.
        settings: As for `walks`.
        radius: Of the affinities' neighbourhood.

    Yields:
        The walked maps on the affinities' grid, float16, background first.
    """
    classes = torch.from_numpy(upsample(cams.maps, affinities.shape[-2:]))
    labels = np.array([0, *cams.labels], np.uint8)
    for walked in walks(torch.from_numpy(affinities)[None], classes[None], settings, radius=radius):
        yield ClassMaps(labels, walked[0].half().numpy())


class RandomWalker(NetworkStage[ClassMaps]):
    """The random walk that spreads CAMs and background: vec M* = T^t vec M.

    A batch's inputs are the photos' CAMs.

    Args:
        walk: Values of the walk, and how AffinityNet computes its features.
        settings: The maps are the mean of the walks at these; of the one that `walk` names, if
            None are given.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        walk: RandomWalk,
        device: torch.device,
        *,
        settings: Sequence[WalkSetting] | None = None,
    ) -> None:
        self.walk = walk
        self.settings = sorted(settings or [walk.setting], key=lambda setting: setting.beta)
        self.reader = self.features = FeatureExtractor(checkpoint, walk, device)

    def replace(self, **changes: Any) -> "RandomWalker":
        """Return a walker with the same network and other values of `alpha`, `beta`, `steps`."""
        other = copy(self)
        other.walk = replace(self.walk, **changes)
        other.settings = [other.walk.setting]
        return other

    def stream(self, batches: Iterable[Batch]) -> Iterator[tuple[str, ClassMaps]]:
        """Revise the CAMs of each photo."""
        for batch, features in self.features(batches):
            grid = (features.shape[-2], features.shape[-1])
            resized = [torch.from_numpy(given.resize(grid).maps) for given in batch.inputs]
            cams = pad_sequence(resized, batch_first=True)  # with zeros, where tags are fewer
            affinities = pair_affinities(features, radius=self.walk.radius)
            walked = walks(
                affinities, cams.to(features.device), self.settings, radius=self.walk.radius
            )
            revised = torch.stack([*walked]).mean(dim=0)
            self.features.check(batch, revised)
            for image_id, given, planes in zip(
                batch.ids, batch.inputs, revised.half().cpu().numpy(), strict=True
            ):
                labels = np.array([0, *given.labels], np.uint8)
                yield image_id, ClassMaps(labels, planes[: len(labels)])


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
        settings = [WalkSetting(walk.alpha, walk.beta, steps) for steps in self.steps]
        for batch, features in self.features(batches):
            affinities = pair_affinities(features, radius=walk.radius).cpu().numpy()
            for image_id, own, cams in zip(batch.ids, affinities, batch.inputs, strict=True):
                walked = [*photo_walks(own, cams, settings, radius=walk.radius)]
                maps = np.stack([each.maps for each in walked])
                yield (
                    image_id,
                    {"labels": walked[0].labels, "steps": np.array(self.steps), "maps": maps},
                )


class WalkTrials(NetworkStage[RegionSums]):
    """What the label maps of many random walks group together, for each of the settings.

    The sums are of the backbone's maps. A batch's inputs are the photos' CAMs.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        walk: AutoRandomWalk,
        device: torch.device,
        *,
        settings: Sequence[WalkSetting],
    ) -> None:
        self.radius, self.settings = walk.radius, settings
        self.reader = self.features = FeatureExtractor(checkpoint, walk, device, adapt=WithLevels)

    def stream(self, batches: Iterable[Batch]) -> Iterator[tuple[str, RegionSums]]:
        """Try the walks of each photo's CAMs."""
        for batch, outputs in self.features(batches):
            for image_id, own, cams in zip(batch.ids, outputs.cpu(), batch.inputs, strict=True):
                *levels, features = own.split(self.features.network.channels)
                affinities = pair_affinities(features[None], radius=self.radius)[0].numpy()
                walked = photo_walks(affinities, cams, self.settings, radius=self.radius)
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
