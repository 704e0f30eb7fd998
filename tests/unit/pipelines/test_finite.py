"""NaN and infinity in a network's outputs or in maps end the run, and name the photo."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from affinitynet.core.class_maps import ClassMaps
from affinitynet.core.dense_crf import CRFParameters
from affinitynet.data.corrections import Corrected
from affinitynet.errors import UserError
from affinitynet.execution import Execution
from affinitynet.networks.checkpoint import initialise
from affinitynet.networks.parameters import (
    FeatureParameters,
    InferenceParameters,
    SegmentationInference,
)
from affinitynet.pipelines.affinity_labels.nodes import label_pixels
from affinitynet.pipelines.cam.nodes import find_prototypes, infer_cams, score_cams, score_tags
from affinitynet.pipelines.parameters import AffinityLabels
from affinitynet.pipelines.revision.nodes import make_pseudo_labels, score_revision, walk_cams
from affinitynet.pipelines.search.nodes import search_thresholds
from affinitynet.pipelines.segmentation.nodes import segment
from affinitynet.stages.model import Model
from affinitynet.stages.parameters import AutoAlphas, AutoRandomWalk, Refinement, Vote

CLASSES = {"cat": 1, "dog": 2}
OPTIONS = {
    "long_side": None,
    "scales": [[1.0, 8]],
    "flip": False,
    "cell": 8,
    "batch_size": 2,
    "bfloat16": False,
}
CAM = SimpleNamespace(
    inference=InferenceParameters(**OPTIONS), prototype_rounds=2, thresholds=(0.3,)
)
FEATURES = FeatureParameters(long_side=32, output_stride=8, batch_size=1, bfloat16=False)
TRIALS = pd.DataFrame([(4.0, 8.0, 4)], columns=["alpha", "beta", "steps"])
WALK = AutoRandomWalk(
    long_side=None,
    output_stride=8,
    batch_size=2,
    bfloat16=False,
    alpha=4.0,
    beta=8.0,
    steps=4,
    radius=2,
)
ALONE = Execution(workers=1)
PHOTOS = dict.fromkeys(("sound", "broken"), lambda: Image.new("RGB", (32, 24), "red"))
INDEX = pd.DataFrame(
    {"width": 32, "height": 24, "split": "train", "tags": "cat|dog"}, index=["sound", "broken"]
)


def checkpoint(kind, value=0.0):
    """An untrained network; `value` is added to the weights of its first output."""
    heads = {"segmentation": {"channels": 8}, "affinity": {"channels": [4, 8, 16]}}
    config = {
        "kind": kind,
        "backbone": {"name": "test_resnet", "output_stride": 8, "weights": None},
        "head": heads.get(kind, {}),
        "classes": CLASSES,
        "inference": OPTIONS,
    }
    made = initialise(config, seed=0)
    weights = {name: weight.clone() for name, weight in made.weights.items()}
    last = [name for name in weights if not name.startswith("backbone") and "weight" in name][-1]
    weights[last][0] += value
    return replace(made, weights=weights)


def maps(value):
    def stored(one):
        planes = np.full((2, 3, 4), 0.5, np.float16)
        planes[0, 0, 0] = one
        return lambda: ClassMaps(np.array([1, 2], np.uint8), planes)

    return {"sound": stored(0.5), "broken": stored(value)}


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_classifier_s_outputs(value):
    model = checkpoint("cam", value)
    with pytest.raises(UserError, match=r"cam network's outputs are NaN .* sound, broken"):
        list(infer_cams(INDEX, model, PHOTOS, CLASSES, CAM, ALONE, {}))
    with pytest.raises(UserError, match=r"cam network's outputs are NaN .* sound, broken"):
        find_prototypes(INDEX, model, PHOTOS, CLASSES, CAM, ALONE)
    with pytest.raises(UserError, match=r"cam network's outputs are NaN .* sound, broken"):
        score_tags(INDEX.assign(split="val"), model, PHOTOS, CLASSES, CAM, ALONE)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_affinitynet_s_features(value):
    with pytest.raises(UserError, match=r"affinity network's outputs are NaN .* sound, broken"):
        list(
            walk_cams(INDEX, checkpoint("affinity", value), PHOTOS, maps(0.5), WALK, TRIALS, ALONE)
        )


@pytest.mark.parametrize("crf", [None, CRFParameters(iterations=1)])
def test_a_segmentation_network_s_logits(crf):
    model = checkpoint("segmentation", np.nan)
    with pytest.raises(UserError, match=r"segmentation network's outputs are NaN .* sound, broken"):
        list(segment(INDEX, model, PHOTOS, SegmentationInference(**OPTIONS, crf=crf), ALONE))
    with pytest.raises(ValueError, match="outputs for this photo are NaN"):
        Model(model).predict(Image.new("RGB", (32, 24)))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_stored_maps_are_tested_by_whoever_reads_them(value):
    stored = maps(value)
    masks = dict.fromkeys(PHOTOS, lambda: np.zeros((24, 32), np.uint8))
    crf = CRFParameters(iterations=1)
    cams = "cam.maps of the photo broken are NaN or infinite"
    walked = "revision.maps of the photo broken are NaN or infinite"
    with pytest.raises(UserError, match=cams):
        list(walk_cams(INDEX, checkpoint("affinity"), PHOTOS, stored, WALK, TRIALS, ALONE))
    options = AffinityLabels(
        alphas=AutoAlphas(low=4, high=24), features=FEATURES, compared=None, crf=crf, long_side=None
    )
    chosen = {"low": 4, "high": 24}
    with pytest.raises(UserError, match=cams):
        list(label_pixels(INDEX, PHOTOS, stored, CLASSES, options, chosen, ALONE))
    with pytest.raises(UserError, match=cams):
        score_cams(stored, masks, CLASSES, CAM, ALONE)
    with pytest.raises(UserError, match=cams):
        search_thresholds(INDEX, stored, masks, CLASSES, [0.3], ALONE)
    refinement = Refinement(Vote(), crf=crf, confidence=0.7, long_side=None)
    with pytest.raises(UserError, match=walked):
        list(make_pseudo_labels(INDEX, CLASSES, refinement, {}, ALONE, PHOTOS, stored, {}))
    with pytest.raises(UserError, match=walked):
        score_revision(stored, {}, masks, Corrected(), INDEX, CLASSES, ALONE)


def test_sound_outputs_pass():
    assert torch.get_default_dtype() == torch.float32
    found = find_prototypes(INDEX, checkpoint("cam"), PHOTOS, CLASSES, CAM, ALONE)
    (cams,) = infer_cams(INDEX, checkpoint("cam"), PHOTOS, CLASSES, CAM, ALONE, found)
    assert cams.keys() == {"sound", "broken"}
    (walked,) = walk_cams(INDEX, checkpoint("affinity"), PHOTOS, maps(0.5), WALK, TRIALS, ALONE)
    assert walked.keys() == {"sound", "broken"}
