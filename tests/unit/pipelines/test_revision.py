"""The dense CRF's values by corrected photos."""

import logging

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from affinitynet.core.class_maps import ClassMaps
from affinitynet.core.dense_crf import CRFParameters
from affinitynet.data.corrections import Corrected
from affinitynet.execution import Execution
from affinitynet.pipelines.parameters import ChooseCRF, Revision
from affinitynet.pipelines.revision.nodes import choose_crf, make_pseudo_labels, with_chosen
from affinitynet.stages.parameters import AutoRandomWalk, Vote

ALONE = Execution(workers=1)
CLASSES = {"cat": 8}
IDS = [f"p{i:02}" for i in range(12)]
SIZE = (24, 32)
NO_CRF = {"crf.compat_gaussian": 0.0, "crf.compat_bilateral": 0.0}


def revision(crf=None, **choice):
    grid = {"widths": (1.0,), "colours": (1.0,), "confidence": (0.7,)}
    return Revision(
        vote=Vote(),
        crf=crf or CRFParameters(iterations=5, reference_side=32.0, sxy_bilateral=8.0),
        confidence=0.7,
        long_side=None,
        random_walk=AutoRandomWalk(
            long_side=32, batch_size=1, bfloat16=False, output_stride=8,
            alpha="auto", beta="auto", steps="auto", radius=5,
        ),
        choose_crf=ChooseCRF(**{"least": 10, "most": 40, "folds": 5} | grid | choice),
    )  # fmt: skip


def boxes(side):
    """An object a photo, `side` pixels wide."""
    masks = {}
    for i, image_id in enumerate(IDS):
        mask = np.zeros(SIZE, np.uint8)
        mask[6 + i % 4 :, 4 + i :][:side, :side] = 8
        masks[image_id] = mask
    return masks


def work(masks, walked, coloured):
    """The node's data: photos with an object in a colour of its own, or in the background's."""
    index = pd.DataFrame({"split": "train", "tags": "cat", "width": 32, "height": 24}, IDS)
    pixels = {i: np.where(masks[i] > 0, 200 if coloured else 60, 60) for i in IDS}
    photos = {i: Image.fromarray(pixels[i].astype(np.uint8)).convert("RGB") for i in IDS}
    shares = {i: np.stack([walked[i] == 0, walked[i] > 0]).astype(np.float16) for i in IDS}
    maps = {i: ClassMaps(np.array([0, 1], np.uint8), shares[i]) for i in IDS}
    return index, *({i: lambda v=each[i]: v for i in IDS} for each in (photos, maps, masks))


def choose(masks, walked, options, *, coloured, corrected=IDS):
    index, photos, maps, truth = work(masks, walked, coloured)
    given = Corrected({i: truth[i] for i in corrected})
    return choose_crf(index, given, CLASSES, options, ALONE, photos, maps, {})


def shifted(masks):
    return {i: np.roll(mask, 3, axis=1) for i, mask in masks.items()}


def test_no_crf_where_colours_tell_nothing_and_it_wipes_small_objects_out(caplog):
    caplog.set_level(logging.INFO)
    small = boxes(3)
    chosen = choose(small, small, revision(), coloured=False)
    assert NO_CRF.items() <= chosen.items()
    assert chosen["crf_photos"] == 12
    assert chosen["crf_miou"] == pytest.approx(1.0)
    assert chosen["crf_present_miou"] < 0.6
    assert "The dense CRF has crf.compat_gaussian 0, crf.compat_bilateral 0, by 12" in caplog.text


def test_colours_count_where_they_draw_the_border():
    large = boxes(10)
    blind = CRFParameters(iterations=5, reference_side=32.0, sxy_bilateral=8.0, srgb=1000.0)
    options = revision(blind, colours=(0.01, 1.0))
    chosen = choose(large, shifted(large), options, coloured=True)
    assert chosen["crf.srgb"] == 10.0
    assert chosen["crf_miou"] > chosen["crf_present_miou"]


def test_what_serves_stays():
    large = boxes(10)
    chosen = choose(large, shifted(large), revision(colours=(50.0,)), coloured=True)
    assert {*chosen} == {"crf_photos", "crf_miou", "crf_present_miou"}


@pytest.mark.parametrize(
    ("options", "corrected"), [(revision(), IDS[:9]), (revision(least=None), IDS)]
)
def test_with_too_few_corrected_photos_nothing_is_chosen(options, corrected):
    small = boxes(3)
    assert choose(small, small, options, coloured=False, corrected=corrected) == {}


def test_no_more_photos_are_looked_at_than_asked():
    small = boxes(3)
    assert choose(small, small, revision(most=10), coloured=False)["crf_photos"] == 10


def test_labels_are_made_with_what_was_chosen():
    small = boxes(3)
    index, photos, maps, truth = work(small, small, coloured=False)
    inputs = (ALONE, photos, maps, {})
    for chosen, is_right in (({}, False), (NO_CRF | {"crf_photos": 12}, True)):
        made = make_pseudo_labels(index, CLASSES, revision(), chosen, *inputs)
        labels = {i: label for chunk in made for i, label in chunk.items()}
        assert all(np.array_equal(labels[i], truth[i]()) for i in IDS) == is_right


def test_values_that_were_not_chosen_stay():
    options = with_chosen(revision(), {"crf.srgb": 5.0, "confidence": 0.9, "crf_miou": 0.5})
    assert (options.crf.srgb, options.crf.sxy_bilateral, options.confidence) == (5.0, 8.0, 0.9)
