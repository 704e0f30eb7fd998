from collections import Counter
from xml.etree import ElementTree

import numpy as np
import pytest

from affinitynet.pipelines.scenes.render import (
    AREA_RANGES,
    CLASSES,
    MIN_VISIBLE,
    Scene,
    render_scene,
    voc_annotation,
)


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    return [render_scene([0, i]) for i in range(120)]


def test_a_seed_determines_the_scene_whatever_was_rendered_before(scenes: list[Scene]) -> None:
    again = render_scene(np.random.default_rng([0, 7]))
    np.testing.assert_array_equal(again.image, scenes[7].image)
    np.testing.assert_array_equal(again.mask, scenes[7].mask)


def test_every_seed_gives_another_scene(scenes: list[Scene]) -> None:
    assert len({scene.image.tobytes() for scene in scenes}) == len(scenes)
    assert render_scene([1, 0]).image.tobytes() != scenes[0].image.tobytes()


def test_images_are_rgb_and_masks_hold_class_indices(scenes: list[Scene]) -> None:
    for scene in scenes:
        assert scene.image.dtype == scene.mask.dtype == np.uint8
        assert scene.image.shape == (*scene.mask.shape, 3)
        assert scene.mask.max() <= len(CLASSES)
        assert (scene.mask == 0).any()


@pytest.mark.parametrize("long_side", [64, 128, 200])
def test_long_side_sets_the_size(long_side: int) -> None:
    shapes = [render_scene([3, i], long_side=long_side).mask.shape for i in range(12)]
    assert {max(shape) for shape in shapes} == {long_side}
    assert min(min(shape) for shape in shapes) >= 0.75 * long_side


def test_both_orientations_occur(scenes: list[Scene]) -> None:
    shapes = [scene.mask.shape for scene in scenes]
    assert any(height > width for height, width in shapes)
    assert any(height < width for height, width in shapes)


def test_tags_are_the_classes_in_the_mask(scenes: list[Scene]) -> None:
    for scene in scenes:
        labels = sorted(set(scene.mask.ravel().tolist()) - {0})
        assert scene.tags == [CLASSES[label - 1] for label in labels]
        assert scene.tags


def test_every_tagged_class_is_well_visible(scenes: list[Scene]) -> None:
    smallest = MIN_VISIBLE * min(low for low, _ in AREA_RANGES)
    for scene in scenes:
        for tag in scene.tags:
            assert (scene.mask == CLASSES.index(tag) + 1).mean() >= smallest


def test_classes_are_balanced_and_often_share_a_scene(scenes: list[Scene]) -> None:
    counts = Counter(tag for scene in scenes for tag in scene.tags)
    assert set(counts) == set(CLASSES)
    assert max(counts.values()) < 1.5 * min(counts.values())
    assert sum(len(scene.tags) > 1 for scene in scenes) > 0.3 * len(scenes)


def test_the_mask_follows_the_edges_in_the_image(scenes: list[Scene]) -> None:
    for scene in scenes[:40]:
        contrast = np.abs(np.diff(scene.image.astype(float), axis=1)).sum(axis=-1)
        border = np.diff(scene.mask.astype(int), axis=1) != 0
        assert contrast[border].mean() > 2 * contrast[~border].mean()


def test_the_annotation_names_each_tag_once_and_the_size(scenes: list[Scene]) -> None:
    scene = next(scene for scene in scenes if len(scene.tags) == 3)
    root = ElementTree.fromstring(voc_annotation("000042", scene))
    height, width, _ = scene.image.shape
    assert root.tag == "annotation"
    assert root.findtext("filename") == "000042.jpg"
    assert root.findtext("size/width") == str(width)
    assert root.findtext("size/height") == str(height)
    assert root.findtext("size/depth") == "3"
    assert [name.text for name in root.findall("object/name")] == scene.tags
