"""Tags that may be wrong: predicted from the tags of other photos."""

import numpy as np
import pandas as pd

from affinitynet.pipelines.tag_check.nodes import check_tags
from affinitynet.stages.tag_check import predict_out_of_fold

NAMES = ["cat", "dog", "owl"]


def photos(count=120, apart=3.0):
    """Features of photos of three classes, and tags of which 5 % are another class's."""
    rng = np.random.default_rng(0)
    truth = np.arange(count) % 3
    features = rng.normal(size=(count, 20))
    features[np.arange(count), truth] += apart
    wrong = rng.choice(count, count // 20, replace=False)
    given = truth.copy()
    given[wrong] = (truth[wrong] + 1) % 3
    return features, np.eye(3, dtype=bool)[given], wrong


def table(shown, found):
    ids = pd.Index([f"{i:03}" for i in range(len(shown))], name="id")
    tags = ["|".join(np.array(NAMES)[row]) for row in shown]
    return pd.DataFrame({"tags": tags}, ids), pd.DataFrame(found, ids, NAMES)


def test_most_wrong_tags_are_in_the_top_tenth():
    features, shown, wrong = photos(600)
    found = predict_out_of_fold(features, shown, folds=5, seed=0)
    suspects, _ = check_tags(*table(shown, found), dict.fromkeys(NAMES, 1))
    top = {int(i) for i in suspects.index[:60]}
    assert len(top & {*wrong}) >= 25
    assert suspects["doubt"].is_monotonic_decreasing


def test_a_doubt_is_about_a_tag_or_about_a_class_that_is_not_tagged():
    shown = np.array([[1, 0, 0], [0, 1, 0]], bool)
    found = np.array([[0.1, 0.2, 0.0], [0.7, 0.9, 0.0]])
    suspects, _ = check_tags(*table(shown, found), dict.fromkeys(NAMES, 1))
    assert suspects["class"].tolist() == ["cat", "cat"]
    assert suspects["tagged"].tolist() == [True, False]
    np.testing.assert_allclose(suspects["doubt"], [0.9, 0.7])


def test_classes_that_look_alike_are_ranked_first(caplog):
    features, shown, _ = photos()
    features[:, :2] = 0  # cats and dogs look the same
    found = predict_out_of_fold(features, shown, folds=5, seed=0)
    _, confusable = check_tags(*table(shown, found), dict.fromkeys(NAMES, 1))
    assert confusable.iloc[0][["one", "other"]].tolist() == ["cat", "dog"]
    assert confusable["auc"].iloc[0] < 0.7 < confusable["auc"].iloc[1]
    assert "cat and dog are hard to tell apart" in caplog.text


def test_classes_of_one_photo_or_of_all_are_not_doubted():
    features, shown, _ = photos(12)
    shown[:, 0], shown[:, 1], shown[3, 1] = True, False, True
    found = predict_out_of_fold(features, shown, folds=5, seed=0)
    np.testing.assert_array_equal(found[:, :2], shown[:, :2])
