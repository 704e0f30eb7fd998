import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from affinitynet.core.label_maps import decode, encode, voc_palette


@given(st.lists(st.integers(1, 254), unique=True, max_size=20), st.data())
@settings(deadline=None)
def test_encoding_is_undone_by_decoding(values, data):
    labels = np.array(
        data.draw(st.lists(st.sampled_from([*range(len(values) + 1), 255]))), np.uint8
    )
    np.testing.assert_array_equal(decode(encode(labels, values), values), labels)


def test_values_of_other_classes_are_ignored():
    assert decode([[0, 8, 9, 12, 255]], [8, 12]).tolist() == [[0, 1, 255, 2, 255]]


def test_palette_is_pascal_voc_s():
    palette = voc_palette()
    assert palette[[0, 1, 8, 12, 15, 20, 255]].tolist() == [
        [0, 0, 0],
        [128, 0, 0],
        [64, 0, 0],
        [64, 0, 128],
        [192, 128, 128],
        [0, 64, 128],
        [224, 224, 192],
    ]
