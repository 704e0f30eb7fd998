"""Parameters of the walk that are `auto`: chosen from the photos, in the graph as it is."""

import numpy as np
import pytest

ALPHAS = {"affinity_labels": {"alphas": {"low": "auto", "high": "auto"}}}
AUTO = {"alpha": "auto", "steps": "auto", "compared": 8, "averaged": 2}


def test_auto_chooses_a_walk_and_keeps_what_is_given(finished_copy):
    finished_copy.run("revision", parameters={"revision": {"random_walk": AUTO}})
    catalog = finished_copy.catalog()
    chosen, trials = catalog.load("revision.chosen"), catalog.load("revision.trials")
    walked = {i: read().maps for i, read in catalog.load("revision.maps").items()}
    settings = [*trials[["alpha", "beta", "steps"]].itertuples(index=False, name=None)]
    assert sorted(settings) == [(1, 8, 0), (1, 8, 8), (4, 8, 0), (4, 8, 8)]  # beta is given
    assert trials["between"].is_monotonic_decreasing
    assert trials["between"].between(0, 1).all()
    assert chosen == trials[["alpha", "beta", "steps"]].iloc[0].to_dict()

    alone = []
    for best in trials.head(2).to_dict("records"):
        given = {name: best[name] for name in ("alpha", "beta", "steps")}
        finished_copy.run("revision", parameters={"revision": {"random_walk": given}})
        catalog = finished_copy.catalog()
        assert catalog.load("revision.chosen") == pytest.approx(given)
        assert catalog.load("revision.trials")["between"].isna().tolist() == [True]
        alone.append({i: read().maps for i, read in catalog.load("revision.maps").items()})
    for image_id, maps in walked.items():
        mean = np.mean([each[image_id] for each in alone], axis=0)
        np.testing.assert_allclose(maps, mean, atol=2e-3)


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
