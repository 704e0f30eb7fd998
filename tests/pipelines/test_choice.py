"""Parameters of the walk that are `auto`: chosen from the photos, in the graph as it is."""

import numpy as np
import pytest

ALPHAS = {"affinity_labels": {"alphas": {"low": "auto", "high": "auto"}}}
AUTO = {"revision": {"random_walk": {"alpha": "auto", "steps": "auto"}, "compared": 8}}


def test_auto_chooses_a_walk_for_each_photo_and_keeps_what_is_given(finished_copy):
    finished_copy.run("revision", parameters=AUTO)
    catalog = finished_copy.catalog()
    chosen, choices = catalog.load("revision.chosen"), catalog.load("revision.choices")
    walked = {i: read().maps for i, read in catalog.load("revision.maps").items()}
    assert {*choices.index} == {*walked}  # photos that were compared, and the others
    assert {*choices["beta"]} == {8}  # it is given
    assert {*choices["alpha"]} <= {1, 4}
    assert {*choices["steps"]} <= {0, 8}
    assert choices["explained"].between(0, 1).all()
    assert chosen == {
        name: choices[name].sort_values().iloc[(len(choices) - 1) // 2]
        for name in ("alpha", "beta", "steps")
    }

    image_id = choices.index[0]
    given = {name: choices[name][image_id].item() for name in ("alpha", "beta", "steps")}
    finished_copy.run("revision", parameters={"revision": {"random_walk": given}})
    catalog = finished_copy.catalog()
    assert catalog.load("revision.chosen") == pytest.approx(given)
    assert catalog.load("revision.choices")["explained"].isna().all()
    again = catalog.load("revision.maps")[image_id]().maps
    np.testing.assert_allclose(again, walked[image_id], atol=2e-3)


def test_auto_finds_the_exponents_of_the_labels(finished_copy):
    finished_copy.run("affinity_labels", parameters=ALPHAS)
    catalog = finished_copy.catalog()
    chosen = catalog.load("affinity_labels.chosen")
    assert chosen["high"] / chosen["low"] == pytest.approx(2.4**2)
    labels = {i: read() for i, read in catalog.load("affinity_labels.labels").items()}

    finished_copy.run("affinity_labels", parameters={"affinity_labels": {"alphas": chosen}})
    catalog = finished_copy.catalog()
    assert catalog.load("affinity_labels.chosen") == chosen
    for image_id, read in catalog.load("affinity_labels.labels").items():
        np.testing.assert_array_equal(read(), labels[image_id])
