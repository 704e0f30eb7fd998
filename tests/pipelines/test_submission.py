"""submission: what VOC's server unpacks; and the dense CRF at test time."""

from dataclasses import replace
from io import BytesIO
from zipfile import ZipFile

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from affinitynet.core.checkpoint import Checkpoint
from affinitynet.core.dense_crf import CRFParameters
from affinitynet.errors import UserError
from affinitynet.execution import Execution
from affinitynet.pipelines.segmentation import nodes
from affinitynet.pipelines.submission.nodes import segment_images
from affinitynet.stages.predictor import Predictor

COMPETITION = "results/VOC2012/Segmentation/comp6_test_cls"


def test_the_archive_has_an_indexed_mask_an_image(finished_copy):
    finished_copy.run("submission")

    catalog = finished_copy.catalog()
    index, predictions = catalog.load("index"), catalog.load("segmentation.predictions")
    val = index[index["split"] == "val"]
    with ZipFile(BytesIO(catalog.load("submission.archive"))) as archive:
        assert archive.namelist() == sorted(f"{COMPETITION}/{i}.png" for i in val.index)
        for image_id, row in val.iterrows():
            with Image.open(archive.open(f"{COMPETITION}/{image_id}.png")) as mask:
                assert mask.mode == "P"
                assert mask.size == (row["width"], row["height"])
                # the list is val, so these are the masks that the default pipeline made
                np.testing.assert_array_equal(mask, predictions[image_id]())


def test_a_list_that_is_missing_is_named(finished_copy):
    with pytest.raises(UserError, match=r"test\.txt: missing \(parameter submission\.list\)"):
        finished_copy.run("submission", parameters={"submission.list": "test"})


def test_a_network_of_other_classes_is_refused():
    model = Checkpoint({"classes": {"owl": 1}}, {})
    masks = segment_images(pd.DataFrame(), model, {}, {"cat": 1}, None, Execution())
    with pytest.raises(UserError, match=r"trained for other classes \(owl\)"):
        next(masks)


@pytest.mark.parametrize("workers", [1, 2])
def test_the_crf_at_test_time_refines_the_scores(finished_run, workers, monkeypatch):
    catalog = finished_run.catalog()
    index, model = catalog.load("index"), catalog.load("segmentation.model")
    photos, inference = catalog.load("photos"), catalog.load("params:segmentation.inference")
    execution = Execution(workers=workers, device="cpu")
    assert inference.crf is None

    def unsure(self, batches):  # a network that is unsure of every pixel
        for batch in batches:
            generator = torch.Generator().manual_seed(0)
            yield batch, [torch.rand(5, 8, 8, generator=generator).softmax(dim=0)] * len(batch.ids)

    monkeypatch.setattr(Predictor, "__call__", unsure)

    def masks(crf):
        few = index[index["split"] == "val"].head(2)
        return dict(nodes.segment(few, model, photos, replace(inference, crf=crf), execution))

    plain = masks(None)
    silent = masks(CRFParameters(compat_gaussian=0, compat_bilateral=0))  # no terms but the scores
    refined = masks(CRFParameters(reference_side=64.0))
    assert plain.keys() == silent.keys() == refined.keys()
    for image_id, mask in plain.items():
        assert (silent[image_id] == mask).all()
        assert (refined[image_id] != mask).any()
