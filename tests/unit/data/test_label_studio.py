"""Label Studio's tasks: its brushes come back, as our reader decodes them."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from affinitynet.data.annotation_tools import decode_brush
from affinitynet.data.label_studio import encode_brush, labelling_config, make_task


@given(arrays(bool, st.tuples(st.integers(1, 9), st.integers(1, 9))))
@settings(deadline=None)
def test_a_brush_comes_back(shown):
    values = decode_brush(encode_brush(shown)).reshape(*shown.shape, 4)
    for channel in range(4):
        np.testing.assert_array_equal(values[..., channel], np.where(shown, 255, 0))


def test_a_long_run_is_several():
    shown = np.zeros((200, 300), bool)
    shown[100:] = True
    np.testing.assert_array_equal(
        decode_brush(encode_brush(shown))[3::4].reshape(200, 300) > 0, shown
    )


def test_a_mask_is_a_prediction_with_a_score():
    mask = np.array([[0, 3, 3], [7, 3, 255]], np.uint8)
    classes = {"cat": 3, "big & dog": 7, "owl": 9}
    task = make_task("images/a.jpg", mask, classes, model="pseudo label", score=0.75)
    assert task["data"] == {"image": "/data/local-files/?d=images/a.jpg"}
    (prediction,) = task["predictions"]
    assert (prediction["model_version"], prediction["score"]) == ("pseudo label", 0.75)
    assert [r["value"]["brushlabels"] for r in prediction["result"]] == [["cat"], ["big & dog"]]
    for result in prediction["result"]:
        assert (result["original_width"], result["original_height"]) == (3, 2)
        alpha = decode_brush(result["value"]["rle"]).reshape(2, 3, 4)[..., 3]
        (name,) = result["value"]["brushlabels"]
        np.testing.assert_array_equal(alpha > 0, mask == classes[name])
    assert "score" not in make_task("a", mask, classes, model="x")["predictions"][0]
    assert '<Label value="big &amp; dog"/>' in labelling_config(classes)
