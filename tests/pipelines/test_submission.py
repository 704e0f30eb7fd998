"""submission: what VOC's server unpacks; and the dense CRF at test time."""

from io import BytesIO
from zipfile import ZipFile

import numpy as np
import pytest
from PIL import Image

from affinitynet.errors import UserError
from affinitynet.execution import Execution
from affinitynet.pipelines.segmentation.nodes import segment

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
                # the list is val, so these are the masks that the road made
                np.testing.assert_array_equal(mask, predictions[image_id]())


def test_a_list_that_is_missing_is_named(finished_copy):
    with pytest.raises(UserError, match=r"test\.txt: missing \(parameter submission\.list\)"):
        finished_copy.run("submission", parameters={"submission.list": "test"})


@pytest.fixture(scope="module")
def trained(finished_run):
    """Two photos of val, their readers, the network, and how it is used."""
    catalog = finished_run.catalog()
    index = catalog.load("index")
    return (
        index[index["split"] == "val"].head(2),
        catalog.load("segmentation.model"),
        catalog.load("photos"),
        catalog.load("params:segmentation")["inference"],
    )


@pytest.mark.parametrize("workers", [1, 2])
def test_the_crf_at_test_time_refines_the_scores(trained, workers):
    index, model, photos, inference = trained
    execution = Execution(workers=workers, device="cpu")
    assert inference["crf"] is None
    plain = dict(segment(index, model, photos, inference, execution))

    # without pairwise terms the argmax stays; with them it does not
    silent = {"crf": {"compat_gaussian": 0, "compat_bilateral": 0}}
    same = dict(segment(index, model, photos, inference | silent, execution))
    refined = dict(segment(index, model, photos, inference | {"crf": {"srgb": 5}}, execution))

    assert same.keys() == refined.keys() == set(index.index)
    for image_id, mask in plain.items():
        np.testing.assert_array_equal(same[image_id], mask)
    assert any((refined[i] != plain[i]).any() for i in plain)
