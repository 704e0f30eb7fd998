import numpy as np
import pytest
from pydensecrf.densecrf import DenseCRF2D

from affinitynet.core.dense_crf import (
    CRFParameters,
    refine,
    refine_many,
    unary_from_labels,
    unary_from_probabilities,
)


@pytest.fixture
def photo():
    image = np.full((24, 32, 3), 40, np.uint8)
    image[6:18, 8:24] = (220, 60, 60)
    return image


def test_labels_are_drawn_to_the_edges_of_colour(photo):
    rough = np.zeros((24, 32), int)
    rough[8:16, 10:22] = 1
    refined = refine(photo, unary_from_labels(rough, 2)).argmax(axis=0)
    assert (refined == (photo[..., 0] == 220)).mean() > 0.98


@pytest.mark.parametrize("parameters", [CRFParameters(), CRFParameters(compat_bilateral=200)])
@pytest.mark.parametrize("labels", [2, 3, 5])
def test_sets_that_are_refined_together_get_what_each_gets_alone(photo, labels, parameters):
    rng = np.random.default_rng(0)
    unaries = [unary_from_probabilities(rng.random((labels, 24, 32)) ** i) for i in (1, 4, 9)]
    together = refine_many(photo, unaries, parameters)
    for unary, many in zip(unaries, together, strict=True):
        np.testing.assert_allclose(many, refine(photo, unary, parameters), atol=1e-4)
        np.testing.assert_allclose(many.sum(axis=0), 1, rtol=1e-4)


def test_refinement_is_pydensecrfs_inference(photo):
    unary = unary_from_probabilities(np.random.default_rng(0).random((3, 24, 32)))
    crf = DenseCRF2D(32, 24, 3)
    crf.setUnaryEnergy(unary.reshape(3, -1))
    crf.addPairwiseGaussian(sxy=3, compat=3)
    crf.addPairwiseBilateral(sxy=80, srgb=13, rgbim=photo, compat=10)
    expected = np.array(crf.inference(10)).reshape(3, 24, 32)
    refined = refine(photo, unary, CRFParameters(reference_side=32))
    np.testing.assert_allclose(refined, expected, atol=1e-5)


def test_spatial_widths_follow_the_photo(photo):
    unary = unary_from_probabilities(np.random.default_rng(0).random((2, 24, 32)))
    half = CRFParameters(sxy_gaussian=1.5, sxy_bilateral=40, reference_side=16)
    full = CRFParameters(sxy_gaussian=3, sxy_bilateral=80, reference_side=32)
    np.testing.assert_array_equal(refine(photo, unary, half), refine(photo, unary, full))


def test_a_single_label_is_certain(photo):
    assert (refine(photo, unary_from_labels(np.zeros((24, 32), int), 1)) == 1).all()


def test_read_only_and_strided_photos_are_fine(photo):
    unary = unary_from_labels(np.zeros((12, 16), int), 2)
    view = photo[::2, ::2]
    view.flags.writeable = False
    assert refine(view, unary).shape == (2, 12, 16)


def test_undecided_pixels_prefer_no_label():
    unary = unary_from_labels(np.array([[0, 1, 255]]), 2, confidence=0.7)
    np.testing.assert_allclose(np.exp(-unary)[:, 0], [[0.7, 0.3, 0.5], [0.3, 0.7, 0.5]], rtol=1e-6)


def test_energies_of_labels_are_those_of_pydensecrf():
    from pydensecrf.utils import unary_from_labels as reference

    labels = np.random.default_rng(0).integers(3, size=(4, 5))
    np.testing.assert_allclose(
        unary_from_labels(labels, 3).reshape(3, -1),
        reference(labels, 3, gt_prob=0.7, zero_unsure=False),
        rtol=1e-6,
    )


def test_labels_out_of_range_are_named():
    with pytest.raises(ValueError, match=r"labels have 3, which is not in 0 … 2"):
        unary_from_labels(np.array([[0, 3, 255]]), 3)


@pytest.mark.parametrize("confidence", [0, 1, -1, 2])
def test_confidence_must_be_a_probability(confidence):
    with pytest.raises(ValueError, match="confidence"):
        unary_from_labels(np.zeros((2, 2), int), 2, confidence=confidence)


def test_wrong_shapes_and_types_are_named(photo):
    with pytest.raises(ValueError, match=r"\(2, 24, 32\)"):
        refine(photo, np.zeros((2, 5, 5), np.float32))
    with pytest.raises(ValueError, match="uint8"):
        refine(photo / 255, np.zeros((2, 24, 32), np.float32))
