"""Prototypes of classes, against their definition cell by cell."""

import numpy as np
import torch

from affinitynet.core.prototypes import activate, prototypes, sum_directions


def test_a_prototype_is_the_mean_direction_under_the_maps_less_that_beside_them():
    torch.manual_seed(0)
    photos = [
        (torch.rand(4, 2, 3), torch.rand(2, 2, 3)),
        (torch.rand(4, 3, 1), torch.rand(2, 3, 1)),
    ]
    found = prototypes(sum(sum_directions(features, maps) for features, maps in photos))
    for label in range(2):
        under, beside, share, rest = np.zeros(4), np.zeros(4), 0.0, 0.0
        for features, maps in photos:
            for row, column in np.ndindex(*maps.shape[1:]):
                cell = features[:, row, column].numpy()
                weight = float(maps[label, row, column])
                direction = cell / np.sqrt((cell**2).sum())
                under, share = under + weight * direction, share + weight
                beside, rest = beside + (1 - weight) * direction, rest + 1 - weight
        np.testing.assert_allclose(found[label], under / share - beside / rest, rtol=1e-5)


def test_a_class_without_photos_or_without_a_map_has_no_activation():
    features = torch.rand(1, 4, 2, 3)
    none = prototypes(torch.zeros(2, 1, 5))
    assert not activate(features, none).any()
    empty = prototypes(sum_directions(features[0], torch.zeros(1, 2, 3)))
    assert not activate(features, empty).any()


def test_a_map_tells_the_direction_of_features_and_not_their_length():
    by_class = torch.tensor([[1.0, -0.5]])
    features = torch.tensor([[3.0, 0.0], [4.0, 2.0]])[None, :, None]  # (3, 4) and (0, 2)
    expected = torch.tensor([0.6 - 0.4, 0.0])  # the second is -0.5, cut off
    for length in (1, 10):
        found = activate(length * features, by_class)
        torch.testing.assert_close(found, expected[None, None, None])
