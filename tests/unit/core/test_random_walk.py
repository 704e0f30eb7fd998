import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from affinitynet.core.affinity import pair_affinities
from affinitynet.core.random_walk import (
    chebyshev_power,
    propagate,
    symmetric_transition,
    transition_from_affinities,
    walk,
    walk_many,
)


def dense_transition(features, radius, beta):
    """T = D^-1 W^beta by its definition, (H W, H W) in double precision."""
    _, height, width = features.shape
    cells = torch.cartesian_prod(torch.arange(height), torch.arange(width))
    near = (cells[:, None] - cells).square().sum(dim=2) < radius**2
    vectors = features.double().flatten(1).T
    distances = (vectors[:, None] - vectors).abs().mean(dim=2)
    weights = near * torch.exp(-distances) ** beta
    return weights / weights.sum(dim=1, keepdim=True)


def dense_walk(maps, features, radius, beta, steps):
    transition = torch.matrix_power(dense_transition(features, radius, beta), steps)
    return (transition @ maps.double().reshape(len(maps), -1).T).T.reshape(maps.shape).float()


def scene(height, width, seed=0, channels=6, classes=3):
    generator = torch.Generator().manual_seed(seed)
    features = 4 * torch.rand(channels, height, width, generator=generator)
    return torch.rand(classes, height, width, generator=generator), features


@pytest.mark.parametrize("steps", [0, 1, 2, 7, 64, 256, 1000])
@pytest.mark.parametrize(("radius", "beta"), [(5, 8.0), (2, 1.0), (3, 16.0)])
def test_walk_equals_the_power_of_the_dense_matrix(steps, radius, beta):
    maps, features = scene(7, 9)
    walked = propagate(maps, features, radius=radius, beta=beta, steps=steps)
    expected = dense_walk(maps, features, radius, beta, steps)
    assert float((walked - expected).abs().max()) < 1e-5


@given(st.integers(1, 8), st.integers(1, 8), st.integers(0, 40), st.integers(0, 99))
@settings(max_examples=25, deadline=None)
def test_walk_equals_the_dense_matrix_on_any_grid(height, width, steps, seed):
    maps, features = scene(height, width, seed)
    expected = dense_walk(maps, features, 5, 8.0, steps)
    assert float((propagate(maps, features, steps=steps) - expected).abs().max()) < 1e-5


@given(st.integers(0, 99), st.integers(0, 300), st.floats(0.5, 16))
@settings(max_examples=25, deadline=None)
def test_constant_maps_stay_and_others_keep_to_their_range(seed, steps, beta):
    maps, features = scene(5, 6, seed)
    walked = propagate(maps, features, steps=steps, beta=beta)
    constant = propagate(torch.ones_like(maps), features, steps=steps, beta=beta)
    torch.testing.assert_close(constant, torch.ones_like(maps), rtol=0, atol=1e-5)
    assert float(walked.min()) >= float(maps.min()) - 1e-5
    assert float(walked.max()) <= float(maps.max()) + 1e-5


@given(st.integers(0, 99), st.integers(0, 300))
@settings(max_examples=15, deadline=None)
def test_mass_is_kept_where_pixels_weigh_as_their_degrees(seed, steps):
    maps, features = scene(5, 6, seed)
    _, root = symmetric_transition(features)
    degree = (root**2).view(5, 6)
    walked = propagate(maps, features, steps=steps)
    torch.testing.assert_close(
        (walked * degree).sum(dim=(1, 2)), (maps * degree).sum(dim=(1, 2)), rtol=1e-5, atol=0
    )


def test_one_transition_serves_several_walks():
    maps, features = scene(6, 7)
    transition = symmetric_transition(features)
    for steps in (4, 256):
        assert torch.equal(
            walk(maps, *transition, steps=steps), propagate(maps, features, steps=steps)
        )


@given(st.lists(st.integers(0, 300), min_size=1, max_size=5), st.integers(0, 99))
@settings(max_examples=25, deadline=None)
def test_walks_of_many_lengths_at_once_equal_the_dense_matrix(steps, seed):
    maps, features = scene(5, 6, seed)
    together = walk_many(maps, *symmetric_transition(features), steps=steps)
    assert together.shape == (len(steps), *maps.shape)
    for walked, t in zip(together, steps, strict=True):
        assert float((walked - dense_walk(maps, features, 5, 8.0, t)).abs().max()) < 1e-5
        assert torch.equal(walked, propagate(maps, features, steps=t))


@given(st.integers(1, 4), st.integers(1, 6), st.integers(1, 6), st.integers(0, 300))
@settings(max_examples=25, deadline=None)
def test_photos_of_a_batch_walk_as_each_by_itself(photos, height, width, steps):
    scenes = [scene(height, width, seed) for seed in range(photos)]
    maps, features = (torch.stack(each) for each in zip(*scenes, strict=True))
    together = propagate(maps, features, steps=steps)
    assert together.shape == maps.shape
    assert together.is_contiguous()
    for walked, (own_maps, own_features) in zip(together, scenes, strict=True):
        expected = dense_walk(own_maps, own_features, 5, 8.0, steps)
        assert float((walked - expected).abs().max()) < 1e-5
    many = walk_many(maps, *symmetric_transition(features), steps=[steps, 3])
    assert many.shape == (2, *maps.shape)
    assert torch.equal(many[0], together)


def test_affinities_serve_several_transitions_also_in_half_precision():
    maps, features = scene(6, 7)
    affinities = pair_affinities(features[None])[0]
    for beta in (1.0, 8.0):
        expected = symmetric_transition(features, beta=beta)
        single = transition_from_affinities(affinities, beta=beta)
        assert torch.equal(single[0].to_dense(), expected[0].to_dense())
        assert torch.equal(single[1], expected[1])
        half = transition_from_affinities(affinities.half(), beta=beta)
        ones = walk(torch.ones_like(maps), *half)
        torch.testing.assert_close(ones, torch.ones_like(maps), rtol=0, atol=1e-5)  # stochastic
        near = walk(maps, *half) - walk(maps, *expected)
        assert float(near.abs().max()) < 1e-3


def test_affinities_of_another_neighbourhood_are_refused():
    _, features = scene(6, 7)
    with pytest.raises(ValueError, match=r"have 12 planes, .* radius 5 has 34"):
        transition_from_affinities(pair_affinities(features[None], radius=3)[0], radius=5)


def test_many_channels_in_single_precision_stay_within_the_tolerance():
    maps, features = scene(9, 11, channels=448)
    expected = dense_walk(maps, features, 5, 8.0, 1000)
    assert float((propagate(maps, features, steps=1000) - expected).abs().max()) < 1e-5


def test_a_border_between_features_holds_the_walk_back():
    features = torch.zeros(4, 6, 12)
    features[:, :, 6:] = 10
    maps = torch.zeros(1, 6, 12)
    maps[0, 2, 2] = 1
    walked = propagate(maps, features)[0]
    assert float(walked[:, 6:].max()) < 1e-4 < float(walked[:, :6].min())


def test_symmetric_form_is_similar_to_the_transition_matrix():
    _, features = scene(5, 6)
    symmetric, root = symmetric_transition(features, radius=5, beta=8.0)
    transition = symmetric.to_dense() * root.T / root
    torch.testing.assert_close(
        transition.double(), dense_transition(features, 5, 8.0), rtol=1e-5, atol=1e-6
    )
    torch.testing.assert_close(transition.sum(dim=1), torch.ones(30, dtype=torch.double))


@pytest.mark.parametrize("steps", [0, 1, 5, 256, 4096])
@pytest.mark.parametrize("tolerance", [1e-3, 1e-6])
def test_chebyshev_expansion_is_the_power_within_its_tolerance(steps, tolerance):
    coefficients = chebyshev_power(steps, tolerance)
    x = np.linspace(-1, 1, 1001)
    error = np.abs(np.polynomial.chebyshev.chebval(x, coefficients) - x**steps).max()
    assert error <= tolerance + 1e-9
    assert len(coefficients) - 1 <= min(steps, math.sqrt(2 * steps * math.log(2 / tolerance)) + 1)


def test_grids_that_differ_and_negative_steps_are_refused():
    maps, features = scene(4, 5)
    with pytest.raises(ValueError, match="resize the maps"):
        propagate(maps[:, :3], features)
    with pytest.raises(ValueError, match="both of a batch"):
        propagate(maps[None], features)
    with pytest.raises(ValueError, match="steps is -1"):
        propagate(maps, features, steps=-1)
