"""Samples: photo and label map are varied together; the cache changes nothing but time."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from affinitynet.core.label_maps import IGNORE_INDEX
from affinitynet.training.parameters import Augmentation
from affinitynet.training.samples import LabelledPhotos, TaggedPhotos, repeat_rare

STILL = {"flip": 0.0, "jitter": 0.0}


def quadrants(width=40, height=30):
    """A photo whose red value is its label: four quadrants, labels 0 to 3."""
    labels = np.zeros((height, width), np.uint8)
    labels[: height // 2, width // 2 :] = 1
    labels[height // 2 :, : width // 2] = 2
    labels[height // 2 :, width // 2 :] = 3
    photo = np.stack([labels * 50, np.zeros_like(labels), np.zeros_like(labels)], -1)
    return Image.fromarray(photo), Image.fromarray(labels)


def labelled(augmentation, **options):
    photo, labels = quadrants()
    return LabelledPhotos(
        ["a"], {"a": lambda: photo}, {"a": lambda: labels}, augmentation, **options
    )


def test_tagged_photos_have_the_announced_form():
    photo, _ = quadrants()
    samples = TaggedPhotos(
        ["a"], {"a": lambda: photo}, {"a": [0, 1, 1]}, Augmentation(crop=32, long_side=(24, 48))
    )

    image, tags = samples[0]

    assert (image.shape, image.dtype) == ((3, 32, 32), torch.float32)
    assert 0 <= image.min() <= image.max() <= 1
    assert torch.equal(tags, torch.tensor([0.0, 1.0, 1.0]))


@pytest.mark.parametrize("seed", range(5))
def test_photo_and_labels_are_varied_together(seed):
    samples = labelled(Augmentation(crop=48, long_side=(30, 60), flip=0.5, jitter=0.0))
    torch.manual_seed(seed)

    image, labels = samples[0]

    seen = (image[0] * 255 / 50).round()
    known = labels != IGNORE_INDEX
    # the borders of the quadrants are blurred in the photo, not in the labels
    assert (seen[known] == labels[known]).float().mean() > 0.8
    assert known.any()


def test_beyond_the_photo_is_grey_and_ignored():
    image, labels = labelled(Augmentation(crop=64, long_side=(40, 40), **STILL))[0]

    outside = labels == IGNORE_INDEX
    assert outside.sum() == 64 * 64 - 40 * 30
    torch.testing.assert_close(
        image[:, outside], torch.full((3, int(outside.sum())), 128 / 255), rtol=0, atol=1e-6
    )


def test_labels_of_another_size_are_brought_to_the_photos():
    photo, labels = quadrants()
    small = labels.resize((20, 15), Image.Resampling.NEAREST)
    samples = LabelledPhotos(
        ["a"],
        {"a": lambda: photo},
        {"a": lambda: small},
        Augmentation(crop=40, long_side=(40, 40), **STILL),
    )

    assert set(samples[0][1].unique().tolist()) == {0, 1, 2, 3, IGNORE_INDEX}


@pytest.mark.parametrize("cache_megabytes", [0, 0.005, 100])
def test_the_cache_changes_no_sample(cache_megabytes):
    opened = []
    photos = [Image.effect_noise((40, 40), 60), Image.effect_noise((40, 40), 90)]
    readers = {str(i): lambda i=i: opened.append(i) or photos[i] for i in range(2)}
    tags = {"0": [1.0], "1": [0.0]}
    augmentation = Augmentation(crop=40, long_side=(40, 40), **STILL)
    samples = TaggedPhotos(["0", "1"], readers, tags, augmentation, cache_megabytes=cache_megabytes)
    opened.clear()

    for index in range(2):
        expected = torch.from_numpy(np.array(photos[index].convert("RGB"))).permute(2, 0, 1) / 255
        torch.testing.assert_close(samples[index][0], expected)

    assert len(opened) == {0: 2, 0.005: 1, 100: 0}[cache_megabytes]


def test_a_photo_that_comes_several_times_is_decoded_once():
    opened = []

    def read():
        opened.append(1)
        return Image.new("RGB", (8, 8))

    augmentation = Augmentation(crop=8, long_side=None)
    ids = ["0", "1", "0", "0", "1"]
    samples = TaggedPhotos(ids, {"0": read, "1": read}, {"0": [1], "1": [0]}, augmentation)
    assert [len(samples), len(opened)] == [5, 2]
    assert [photo.shape for photo, _ in map(samples.__getitem__, range(5))] == [(3, 8, 8)] * 5
    assert len(opened) == 2


@pytest.mark.parametrize("long_side", [(0, 10), (20, 10)])
def test_impossible_sizes_are_refused(long_side):
    with pytest.raises(ValueError, match="long_side"):
        Augmentation(long_side=long_side)


def test_without_a_range_photos_keep_their_size():
    samples = labelled(Augmentation(crop=30, long_side=None, **STILL))

    assert samples.load("a")[0].shape == (3, 30, 40)


def test_hue_varies_the_photo_alone():
    augmentation = Augmentation(crop=40, long_side=(40, 40), flip=0.0, jitter=0.0, hue=0.5)
    still, varied = labelled(replace(augmentation, hue=0.0)), labelled(augmentation)
    torch.manual_seed(1)

    assert not torch.equal(varied[0][0], still[0][0])


def test_photos_of_rare_classes_come_more_often():
    """As often as LVIS's repeat factors say: on average, as parts of a photo cannot come."""
    shown = np.zeros((100, 4), np.uint8)
    shown[:64, 0] = shown[60:80, 1] = shown[79:83, 2] = 1  # nothing shows the last one
    drawn = np.mean([repeat_rare(shown, 0.36, seed) for seed in range(2000)], axis=0)
    expected = [1.0] * 60 + [(0.36 / 0.2) ** 0.5] * 19 + [3.0] * 4 + [1.0] * 17
    assert drawn == pytest.approx(expected, abs=0.05)
    assert (repeat_rare(shown, 0.0, 0) == 1).all()
    assert (repeat_rare(shown, 0.36, 5) == repeat_rare(shown, 0.36, 5)).all()
