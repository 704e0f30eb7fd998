import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from affinitynet.core.cams import background, normalise, with_background

activations = hnp.arrays(
    "float32",
    hnp.array_shapes(min_dims=3, max_dims=3, max_side=5),
    elements=st.floats(0, 1e6, width=32),
).map(torch.from_numpy)


@given(activations)
@settings(deadline=None)
def test_normalised_maps_peak_at_one_unless_there_is_nothing(maps):
    cams = normalise(maps)
    for activation, cam in zip(maps, cams, strict=True):
        assert float(cam.max()) == pytest.approx(1.0 if activation.any() else 0.0)
        assert float(cam.min()) >= 0


@given(activations, st.floats(0.5, 32))
@settings(deadline=None)
def test_background_falls_with_the_strongest_cam(maps, alpha):
    cams = normalise(maps)
    scores = background(cams, alpha)
    torch.testing.assert_close(scores, (1 - cams.max(dim=0).values) ** alpha)
    assert torch.equal(with_background(cams, alpha)[0], scores)
    assert torch.equal(with_background(cams, alpha)[1:], cams)


def test_the_faintest_activation_still_peaks_at_one():
    assert float(normalise(torch.tensor([[[1e-45]]]))) == 1


def test_an_image_without_classes_is_all_background():
    assert torch.equal(with_background(torch.zeros(0, 2, 3), alpha=4), torch.ones(1, 2, 3))


def test_a_higher_alpha_weakens_the_background():
    cams = torch.tensor([[[0.2, 0.8]]])
    assert (background(cams, 24) < background(cams, 4)).all()
