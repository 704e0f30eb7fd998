"""Parameters of the walk that are `auto`: chosen from the photos, in the graph as it is."""

import numpy as np

AUTO = {"revision": {"random_walk": {"alpha": "auto", "steps": "auto"}}}


def test_auto_takes_the_walk_that_explains_the_photos_best_and_keeps_what_is_given(finished_copy):
    finished_copy.run("revision", parameters=AUTO)
    catalog = finished_copy.catalog()
    chosen, trials = catalog.load("revision.chosen"), catalog.load("revision.choices")
    best = trials.loc[trials["explains"].idxmax()]
    assert len(trials) == 4  # 2 alphas, 2 steps
    assert {*trials["beta"]} == {8}  # it is given
    assert chosen == {name: best[name] for name in ("alpha", "beta", "steps")}
    walked = {i: read().maps for i, read in catalog.load("revision.maps").items()}

    finished_copy.run("revision", parameters={"revision": {"random_walk": chosen}})
    catalog = finished_copy.catalog()
    assert catalog.load("revision.chosen") == chosen
    assert "explains" not in catalog.load("revision.choices")
    for image_id, read in catalog.load("revision.maps").items():
        np.testing.assert_array_equal(read().maps, walked[image_id])
