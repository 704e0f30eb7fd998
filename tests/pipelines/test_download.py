"""download: SBD's masks and VOC's lists become train_aug; the archives are stood in for."""

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from affinitynet.core.label_maps import voc_palette
from affinitynet.errors import UserError
from affinitynet.pipeline_registry import register_pipelines
from affinitynet.pipelines.download import nodes


@pytest.fixture
def voc_root(tmp_path):
    """What the two archives leave behind: a is VOC's, b is SBD's, c is val and in both."""
    root = tmp_path / "VOCdevkit" / "VOC2012"
    for folder in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation", "SBD/cls"):
        (root / folder).mkdir(parents=True)
    for name, value in (("a", 1), ("c", 3)):
        mask = Image.fromarray(np.full((4, 6), value, np.uint8))
        mask.putpalette(voc_palette().tobytes())
        mask.save(root / "SegmentationClass" / f"{name}.png")
    for name, value in (("b", 2), ("c", 9)):
        labels = np.full((4, 6), value, np.uint8)
        savemat(root / "SBD" / "cls" / f"{name}.mat", {"GTcls": {"Segmentation": labels}})
    (root / "ImageSets" / "Segmentation" / "train.txt").write_text("a\n")
    (root / "ImageSets" / "Segmentation" / "val.txt").write_text("c\n")
    return root


def test_train_aug_is_vocs_train_and_sbd_without_val(voc_root, project):
    project.run("download", env="voc", parameters={"voc_root": str(voc_root)})

    lists = voc_root / "ImageSets" / "Segmentation"
    assert (lists / "train_aug.txt").read_text() == "a\nb\n"
    masks = {}
    for path in (voc_root / "SegmentationClassAug").iterdir():
        with Image.open(path) as image:
            assert image.mode == "P"
            masks[path.stem] = np.unique(np.asarray(image)).tolist()
    assert masks == {"a": [1], "b": [2], "c": [3]}  # val has VOC's mask, not SBD's


def test_the_path_must_be_the_archives():
    with pytest.raises(UserError, match="must end with VOCdevkit/VOC2012"):
        nodes.download_voc("data/voc")


def test_a_download_that_fails_says_what_to_fetch(tmp_path, monkeypatch):
    from torchvision.datasets import VOCSegmentation

    def fail(*_, **__):
        raise OSError("no route to host")

    monkeypatch.setattr(VOCSegmentation, "__init__", fail)
    with pytest.raises(UserError, match=r"no route to host. Fetch the archives by hand"):
        nodes.download_voc(str(tmp_path / "VOCdevkit" / "VOC2012"))


def test_it_is_no_part_of_a_run_that_does_not_name_it():
    pipelines = register_pipelines()

    assert "download" in pipelines
    assert not [node for node in pipelines["__default__"].nodes if "download" in node.name]
