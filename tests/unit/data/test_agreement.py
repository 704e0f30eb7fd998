"""Tags and masks that speak of the same things, or do not."""

import numpy as np
import pytest

from affinitynet.data.agreement import compare

NAMES = ["ant", "bee", "cow", "dog", "elk"]


def draw(seed, count=40, names=NAMES):
    """Photos that show one or two classes, and the numbers of those in alphabetical order."""
    rng = np.random.default_rng(seed)
    tags = {
        f"p{number}": [names[k] for k in rng.choice(len(names), rng.integers(1, 3), replace=False)]
        for number in range(count)
    }
    return tags, dict(zip(names, range(1, len(names) + 1), strict=True))


def masks_of(tags, values):
    return {image_id: tuple(sorted(values[tag] for tag in each)) for image_id, each in tags.items()}


def test_masks_of_the_same_order_agree():
    tags, classes = draw(0)
    found = compare(tags, masks_of(tags, classes), classes, NAMES, "mask_classes")
    assert not found.problems
    assert not found.warnings


@pytest.mark.parametrize("order", [[5, 4, 3, 2, 1], [1, 2, 4, 3, 5], [2, 3, 4, 5, 1]])
def test_masks_of_another_order_stop_with_the_parameter_that_mends_it(order):
    tags, classes = draw(1)
    actual = dict(zip(NAMES, order, strict=True))
    (problem,) = compare(tags, masks_of(tags, actual), classes, NAMES, "mask_classes").problems
    mended = ";".join(sorted(NAMES, key=actual.get))
    assert f'--params "mask_classes={mended}"' in problem
    assert problem.startswith("tags and masks disagree on 40 photos that have both")
    again = {name: value for value, name in enumerate(mended.split(";"), start=1)}
    assert not compare(tags, masks_of(tags, actual), again, list(again), "").problems


def test_values_that_no_class_has_are_named_too():
    """VOC's numbers, of which the tags know three."""
    tags, classes = draw(2, names=["cat", "dog", "sheep"])
    voc = {"cat": 8, "dog": 12, "sheep": 17}
    (problem,) = compare(tags, masks_of(tags, voc), classes, ["cat", "dog", "sheep"], "m").problems
    proposed = problem.split('"m=')[1].rstrip('"').split(";")
    assert [proposed.index(name) + 1 for name in voc] == [8, 12, 17]
    assert len({*proposed}) == 17


def test_a_class_that_is_not_learned_keeps_its_name():
    tags, classes = draw(3, names=["ant", "bee"])
    shown = masks_of(tags, {"ant": 3, "bee": 1})
    (problem,) = compare(tags, shown, classes, ["ant", "bee", "cow"], "m").problems
    assert 'm=bee;cow;ant"' in problem or 'm=bee;value 2;ant"' in problem


def test_a_few_photos_are_named():
    tags, classes = draw(4)
    shown = masks_of(tags, classes) | {"p3": (), "p7": (1, 2, 3, 4, 5)}
    found = compare(tags, shown, classes, NAMES, "mask_classes")
    assert not found.problems
    (warning,) = found.warnings
    assert warning.startswith("tags and masks differ on 2 of 40 photos: p3 (tags: ")
    assert "mask: nothing), p7 (tags: " in warning


def test_tags_that_name_only_the_main_object_are_no_system():
    tags, classes = draw(5)
    shown = masks_of(tags, classes)
    main = {image_id: each[:1] for image_id, each in tags.items()}
    assert not compare(main, shown, classes, NAMES, "mask_classes").problems


def test_masks_of_a_part_of_the_classes_are_no_system():
    tags, classes = draw(6)
    shown = {
        i: tuple(value for value in each if value != 5)
        for i, each in masks_of(tags, classes).items()
    }
    assert not compare(tags, shown, classes, NAMES, "mask_classes").problems


def test_masks_of_background_only_stop():
    tags, classes = draw(7)
    (problem,) = compare(tags, dict.fromkeys(tags, ()), classes, NAMES, "mask_classes").problems
    assert "the masks of all 40 tagged photos show none of the classes" in problem
    assert "their values are only 0 and 255" in problem


def test_classes_that_are_always_together_and_no_masks_are_fine():
    tags = {f"p{number}": ["horse", "rider"] for number in range(9)}
    classes = {"horse": 1, "rider": 2}
    assert not compare(tags, masks_of(tags, classes), classes, [*classes], "").problems
    assert not compare(tags, {}, classes, [*classes], "").problems


@pytest.mark.parametrize("seed", range(20))
def test_drawn_orders_are_found(seed):
    rng = np.random.default_rng(seed)
    names = [f"c{number:02}" for number in range(14)]
    tags, classes = draw(seed, count=200, names=names)
    actual = dict(zip(names, (rng.permutation(14) + 1).tolist(), strict=True))
    shown = masks_of(tags, actual)
    for image_id in rng.choice([*tags], 20, replace=False):  # a tenth is noise
        shown[image_id] = ()
    (problem,) = compare(tags, shown, classes, names, "m").problems
    assert f'"m={";".join(sorted(names, key=actual.get))}"' in problem


@pytest.mark.parametrize(
    "renumber",
    [
        lambda values: [value - 1 for value in values],  # the background is 255
        lambda values: [1, *(value + 1 for value in values)],
        lambda values: [value * 40 for value in values],
    ],
)
def test_masks_that_no_names_mend_are_to_be_numbered(renumber):
    tags, classes = draw(5)
    shown = {i: tuple(renumber(values)) for i, values in masks_of(tags, classes).items()}
    (problem,) = compare(tags, shown, classes, NAMES, "mask_classes").problems
    assert problem.endswith(
        "write 0 for the background into the masks, and for the classes 1 ant, 2 bee, 3 cow, "
        "4 dog, 5 elk"
    )


def test_masks_that_lack_objects_are_only_named():
    tags, classes = draw(5)  # as poor pseudo labels do: nothing foreign is in them
    shown = {i: tuple(v for v in values if v < 2) for i, values in masks_of(tags, classes).items()}
    found = compare(tags, shown, classes, NAMES, "mask_classes")
    assert not found.problems
    assert found.warnings


def test_masks_that_show_more_than_the_one_tag_of_a_photo_are_only_named():
    tags, classes = draw(6, count=100)
    shown = masks_of(
        {i: [*each, NAMES[k % 5]] for k, (i, each) in enumerate(tags.items())}, classes
    )
    shown |= dict.fromkeys(["p1", "p2", "p3"], (0,))
    found = compare(tags, shown, classes, NAMES, "mask_classes")
    assert not found.problems
    assert found.warnings
