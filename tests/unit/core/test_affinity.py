import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from affinitynet.core.affinity import (
    affinity_loss,
    neighbourhood,
    pair_affinities,
)


def all_pairs(height, width, radius):
    """Every unordered pair of pixels closer than the radius, by definition."""
    cells = [(y, x) for y in range(height) for x in range(width)]
    return [(a, b) for i, a in enumerate(cells) for b in cells[i + 1 :] if math.dist(a, b) < radius]


def naive_loss(features, labels, radius, ignore_index=255):
    terms = {"fg": [], "bg": [], "neg": []}
    for image, label in zip(features, labels, strict=True):
        for a, b in all_pairs(*label.shape, radius):
            one, other = int(label[a]), int(label[b])
            if ignore_index in (one, other):
                continue
            distance = (image[:, *a] - image[:, *b]).abs().mean()
            if one != other:
                terms["neg"].append(-torch.log(1 - torch.exp(-distance)))
            else:
                terms["bg" if one == 0 else "fg"].append(distance)
    mean = {name: torch.stack(v).mean() if v else torch.zeros(()) for name, v in terms.items()}
    return (mean["fg"] + mean["bg"] + 2 * mean["neg"]) / 4


@pytest.mark.parametrize(("radius", "count"), [(1, 0), (2, 4), (3, 12), (5, 34)])
def test_neighbourhood_is_half_a_disc(radius, count):
    offsets = neighbourhood(radius)
    assert len(offsets) == count
    assert not {(-dy, -dx) for dy, dx in offsets} & set(offsets)


@given(st.integers(1, 7), st.integers(1, 7), st.integers(1, 5), st.integers(0, 99))
@settings(max_examples=25, deadline=None)
def test_affinities_are_those_of_the_definition(height, width, radius, seed):
    features = torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(seed))
    planes = pair_affinities(features, radius=radius)[0]
    found = {}
    for (dy, dx), plane in zip(neighbourhood(radius), planes, strict=True):
        for y, x in plane.nonzero().tolist():
            found[(y, x), (y + dy, x + dx)] = float(plane[y, x])
    expected = {
        frozenset(pair): float(
            torch.exp(-(features[0, :, *pair[0]] - features[0, :, *pair[1]]).abs().mean())
        )
        for pair in all_pairs(height, width, radius)
    }
    assert {frozenset(pair) for pair in found} == expected.keys()
    for pair, value in found.items():
        assert value == pytest.approx(expected[frozenset(pair)], rel=1e-5)


def test_affinities_have_the_right_gradient():
    features = torch.rand(2, 3, 4, 5, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(lambda f: pair_affinities(f, radius=3), features)


def test_affinities_of_half_precision_features_are_averaged_in_single():
    features = torch.rand(1, 448, 5, 6, generator=torch.Generator().manual_seed(0)).bfloat16()
    affinities = pair_affinities(features)
    assert affinities.dtype == torch.float32
    torch.testing.assert_close(affinities, pair_affinities(features.float()), rtol=1e-3, atol=0)


@given(st.integers(0, 999))
@settings(max_examples=15, deadline=None)
def test_loss_and_gradient_are_those_of_the_definition(seed):
    generator = torch.Generator().manual_seed(seed)
    features = torch.rand(2, 4, 5, 6, generator=generator, dtype=torch.double)
    labels = torch.tensor([0, 1, 2, 255])[torch.randint(4, (2, 5, 6), generator=generator)]
    mine, naive = features.clone().requires_grad_(), features.clone().requires_grad_()
    loss, expected = affinity_loss(mine, labels, radius=3), naive_loss(naive, labels, radius=3)
    torch.testing.assert_close(loss, expected)
    loss.backward()
    expected.backward()
    torch.testing.assert_close(mine.grad, naive.grad)


@pytest.mark.parametrize("label", [0, 1, 255])
def test_kinds_of_pairs_that_do_not_occur_cost_nothing(label):
    features = torch.rand(1, 4, 6, 6)
    loss = affinity_loss(features, torch.full((1, 6, 6), label))
    assert torch.isfinite(loss)
    assert (loss > 0) == (label != 255)


def test_equal_features_across_a_border_give_a_finite_loss_and_gradient():
    features = torch.zeros(1, 4, 4, 4, requires_grad=True)
    labels = torch.tensor([[[0, 0, 1, 1]] * 4])
    loss = affinity_loss(features, labels)
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(features.grad).all()


def test_labels_on_another_grid_are_refused():
    with pytest.raises(ValueError, match="resize the labels"):
        affinity_loss(torch.rand(1, 4, 4, 4), torch.zeros(1, 8, 8, dtype=torch.long))
