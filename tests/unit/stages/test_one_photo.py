"""A stage does one photo as it does a batch of them, and asks nothing of Kedro."""

from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image

from affinitynet.core.class_maps import ClassMaps
from affinitynet.core.dense_crf import CRFParameters
from affinitynet.core.images import to_pixels, upsample
from affinitynet.core.separation import sum_regions
from affinitynet.networks.checkpoint import initialise, restore
from affinitynet.networks.parameters import SegmentationInference
from affinitynet.stages.cam import CamExtractor, DirectionSums, TagClassifier
from affinitynet.stages.parameters import (
    AutoRandomWalk,
    RandomWalk,
    Refinement,
    Vote,
    WalkSetting,
    WalkSpace,
)
from affinitynet.stages.refinement import CRFLabeller, TaggedLabeller
from affinitynet.stages.revision import AffinityExtractor, RandomWalker, StepwiseWalker, WalkTrials
from affinitynet.stages.segmentation import ClassScorer, Known, Segmenter

CPU = torch.device("cpu")
SIZES = {"wide": (24, 40), "high": (40, 24), "again": (24, 40)}
INFERENCE = SegmentationInference(
    long_side=32, scales=((1.0, 8), (0.5, 8)), flip=True, cell=8, batch_size=2, bfloat16=False
)
WALK = RandomWalk(
    long_side=32,
    output_stride=8,
    batch_size=2,
    bfloat16=False,
    alpha=4.0,
    beta=8.0,
    steps=4,
    radius=3,
)
LABELS = np.array([2, 1], np.uint8)
CAMS = ClassMaps(LABELS, np.random.default_rng(0).random((2, 3, 4)).astype(np.float16))


@pytest.fixture(scope="module")
def photos():
    noise = np.random.default_rng(0)
    return {i: Image.fromarray(noise.integers(0, 256, (*s, 3), np.uint8)) for i, s in SIZES.items()}


def network(kind):
    heads = {"segmentation": {"channels": 8}, "affinity": {"channels": [4, 8, 16]}}
    config = {
        "kind": kind,
        "backbone": {"name": "test_resnet", "output_stride": 8, "weights": None},
        "head": heads.get(kind, {}),
        "classes": {"cat": 8, "dog": 12},
    }
    return initialise(config, seed=0)


def prototypes():
    return network("cam").weights["classifier.weight"][..., 0, 0].numpy()


def arrays(result):
    if isinstance(result, dict):
        return [*result.values()]
    return [*vars(result).values()] if hasattr(result, "__dataclass_fields__") else [result]


@pytest.mark.parametrize(
    ("make", "kind", "options", "needs"),
    [
        (CamExtractor, "cam", INFERENCE, dict.fromkeys(SIZES, LABELS)),
        (
            partial(CamExtractor, prototypes=prototypes()),
            "cam",
            INFERENCE,
            dict.fromkeys(SIZES, LABELS),
        ),
        (DirectionSums, "cam", INFERENCE, dict.fromkeys(SIZES, LABELS)),
        (TagClassifier, "cam", INFERENCE, None),
        (RandomWalker, "affinity", WALK, dict.fromkeys(SIZES, CAMS)),
        (partial(StepwiseWalker, steps=[0, 4]), "affinity", WALK, dict.fromkeys(SIZES, CAMS)),
        (AffinityExtractor, "affinity", WALK, None),
        (ClassScorer, "segmentation", INFERENCE, {i: [2] for i in SIZES}),
        (Segmenter, "segmentation", INFERENCE, {i: Known(SIZES[i], [1]) for i in SIZES}),
    ],
)
def test_one_photo_equals_a_batch(photos, make, kind, options, needs):
    stage = make(network(kind), options, CPU)
    readers = {i: (lambda photo=photo: photo) for i, photo in photos.items()}
    done = dict(stage.stream(stage.reader.read(SIZES, readers, needs)))
    assert done.keys() == SIZES.keys()
    for image_id, photo in photos.items():
        alone = stage(photo, needs and needs[image_id])
        for one, other in zip(arrays(alone), arrays(done[image_id]), strict=True):
            np.testing.assert_allclose(one, other, atol=2e-3)


def test_the_trials_have_the_label_maps_that_the_walker_makes(photos):
    space = WalkSpace(alpha=(1, 4.0), beta=(8,), steps=(0, 4))
    auto = AutoRandomWalk(**vars(WALK) | {"alpha": "auto", "steps": "auto"})
    trials = WalkTrials(network("affinity"), auto, CPU, settings=space.settings())
    tried = trials(photos["wide"], CAMS)
    walker = RandomWalker(network("affinity"), WALK, CPU)
    pixels = torch.from_numpy(to_pixels(photos["wide"], 32) / 255).permute(2, 0, 1)[None].float()
    with torch.inference_mode():
        levels = restore(network("affinity"), output_stride=8).backbone.levels(pixels)[:-1]
    maps = [
        walker.replace(alpha=alpha, steps=steps)(photos["wide"], CAMS).maps.argmax(axis=0)
        for alpha, _, steps in space.settings()
    ]
    resized = [upsample(level[0], maps[0].shape) for level in levels]
    expected = sum_regions(resized, np.stack(maps), np.array([0, *CAMS.labels], np.uint8))
    np.testing.assert_array_equal(tried.labels, expected.labels)
    np.testing.assert_allclose(tried.sizes, expected.sizes, atol=1e-6)
    np.testing.assert_allclose(tried.sums, expected.sums, atol=1e-3)


def test_a_walker_of_several_settings_averages_their_maps(photos):
    settings = [WalkSetting(4, 8, 4), WalkSetting(1, 8, 2), WalkSetting(4, 2, 4)]
    averaged = RandomWalker(network("affinity"), WALK, CPU, settings=settings)
    walker = RandomWalker(network("affinity"), WALK, CPU)
    walked = [walker.replace(**each._asdict())(photos["wide"], CAMS).maps for each in settings]
    found = averaged(photos["wide"], CAMS).maps
    np.testing.assert_allclose(found, np.mean(walked, axis=0), atol=2e-3)


def test_what_is_given_of_the_walk_is_not_chosen():
    auto = AutoRandomWalk(**vars(WALK) | {"alpha": "auto", "bfloat16": "auto"})
    walk = auto.resolve({"alpha": 2.0, "beta": 12.0, "steps": 64})
    assert (walk.alpha, walk.beta, walk.steps, walk.bfloat16) == (2, 8, 4, "auto")


def test_a_walker_with_other_parameters_shares_the_network(photos):
    walker = RandomWalker(network("affinity"), WALK, CPU)
    still = walker.replace(steps=0)(photos["wide"], CAMS)
    grid = still.maps.shape[1:]
    expected = CAMS.resize(grid).with_background(WALK.alpha).maps
    np.testing.assert_allclose(still.maps, expected, atol=2e-3)
    assert walker.walk == WALK
    assert walker.replace(steps=0).features is walker.features


def test_only_what_is_certain_is_labelled_once_more():
    probabilities = np.zeros((3, 4, 8), np.float16)
    probabilities[0, :, :4] = 1  # background on the left, the first class and either on the right
    probabilities[1, :2, 4:] = 1
    probabilities[1:, 2:, 4:] = 0.5
    crf = CRFParameters(compat_gaussian=0, compat_bilateral=0)
    options = Refinement(Vote(), crf, 0.7, None)
    photo = Image.fromarray(np.zeros((4, 8, 3), np.uint8))
    scores = ClassMaps(np.array([0, 2, 1], np.uint8), probabilities)
    labels = TaggedLabeller([8, 12], options, certainty=0.8)(photo, scores)
    np.testing.assert_array_equal(labels[:, :4], 0)
    np.testing.assert_array_equal(labels[:2, 4:], 12)
    np.testing.assert_array_equal(labels[2:, 4:], 255)
    everything = TaggedLabeller([8, 12], options, certainty=0)(photo, scores)
    assert {*everything[2:, 4:].flat} <= {8, 12}


def test_network_and_walk_are_two_witnesses():
    """p(c) ~ p_network(c) p_walk(c): who is unsure leaves it to the other."""
    network, walk = np.full((2, 2, 3, 8), 0.5, np.float16)  # of background and an object
    network[:, :, :4] = np.array([0.9, 0.1])[:, None, None]
    walk[:, :, 2:6] = np.array([0.1, 0.3])[:, None, None]  # its scores need not sum to one
    crf = CRFParameters(compat_gaussian=0, compat_bilateral=0)
    labeller = TaggedLabeller([8, 12], Refinement(Vote(), crf, 0.7, None), certainty=0.7)
    photo, labels = Image.new("RGB", (8, 3)), np.array([0, 2], np.uint8)
    given = ClassMaps(labels, network), ClassMaps(labels, walk)
    for row in labeller(photo, *given):  # from the third cell on 0.09 to 0.03, a share of 0.75
        np.testing.assert_array_equal(row, [0, 0, 0, 0, 12, 12, 255, 255])
    for row in labeller(photo, given[0]):
        np.testing.assert_array_equal(row, [0, 0, 0, 0, 255, 255, 255, 255])


def test_a_walk_of_other_classes_is_left_out():
    """A user's own maps may lack a tag."""
    crf = CRFParameters(compat_gaussian=0, compat_bilateral=0)
    labeller = TaggedLabeller([8, 12], Refinement(Vote(), crf, 0.7, None))
    photo, rng = Image.new("RGB", (8, 3)), np.random.default_rng(0)
    network = ClassMaps(np.array([0, 1, 2], np.uint8), rng.random((3, 3, 8)))
    walk = ClassMaps(np.array([0, 2], np.uint8), rng.random((2, 3, 8)))
    np.testing.assert_array_equal(labeller(photo, network, walk), labeller(photo, network))


@pytest.mark.parametrize("in_255ths", [False, True])
def test_the_crf_works_at_the_working_size_and_the_mask_has_the_photos(in_255ths):
    crf = CRFParameters(compat_gaussian=0, compat_bilateral=0)
    probabilities = np.zeros((3, 2, 4), np.float32)
    probabilities[0, :, :2] = probabilities[2, :, 2:] = 0.8
    probabilities[1] = 0.2
    turned = Image.new("RGB", (30, 60))  # 60 x 30 pixels when it is upright
    turned.getexif()[0x0112] = 6
    found = CRFLabeller([8, 12], crf, 16, in_255ths)(turned, probabilities)
    assert found.mask.shape == found.confidence.shape == (30, 60)
    for row in found.mask:
        np.testing.assert_array_equal(row, [0] * 30 + [12] * 30)
    assert found.confidence.max() == pytest.approx(204 if in_255ths else 0.8, abs=1e-3)
