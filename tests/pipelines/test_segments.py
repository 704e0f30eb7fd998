"""--params segments=<folder>: regions of another program vote on the walk's labels."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from affinitynet.datasets import ClassMapsDataset
from affinitynet.datasets.folder import source
from affinitynet.errors import UserError

NODES = ["revision.check_segments", "revision.refine"]
NO_CRF = {"revision.crf.compat_gaussian": 0, "revision.crf.compat_bilateral": 0}


def test_each_region_of_a_folder_gets_one_label(finished_copy):
    folder = finished_copy.folder / "regions"
    folder.mkdir()
    catalog, noise = finished_copy.catalog(), np.random.default_rng(0)
    index = catalog.load("index")
    for read in catalog.load("revision.maps").values():
        maps = noise.random(read().maps.shape, np.float32)
        ClassMapsDataset(filepath=source(read)).save(replace(read(), maps=maps))
    for image_id, row in index.iterrows():
        stripes = np.arange(row["width"]) // 8 + 1
        regions = np.tile(stripes.astype(np.uint8), (row["height"], 1))
        Image.fromarray(regions).save(folder / f"{image_id}.png")
    options = NO_CRF | {"segments": str(folder), "revision.vote.threshold": 0}
    finished_copy.run(node_names=NODES, parameters=options)
    shown = []
    for read in finished_copy.catalog().load("revision.labels").values():
        labels = read()
        assert (labels == labels[:1]).all()
        assert (labels[0].reshape(-1, 8) == labels[0, ::8, None]).all()
        shown.append(len(np.unique(labels)))
    assert max(shown) > 1
    assert finished_copy.record()["inputs"]["segments"].startswith(f"{len(index)} files, ")
    report = finished_copy.catalog().load("revision.segments_report")
    assert report == {"photos": 12, "regions": index["width"].iloc[:12].mean() / 8}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"segments": "nowhere"}, "segments=.*nowhere: there is no such folder, or it is empty"),
        ({"revision.vote.segments": "regions"}, "give a folder as --params segments=<folder>"),
    ],
)
def test_a_folder_that_is_not_there_is_named_at_once(finished_copy, options, message):
    with pytest.raises(UserError, match=message):
        finished_copy.run(node_names=NODES, parameters=options)
    assert len(finished_copy.records) == 1
