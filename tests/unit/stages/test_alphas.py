"""The exponents of stage 2: as they are given, or around the one that divides the photos best."""

import pytest

from affinitynet.stages.parameters import Alphas, AutoAlphas


def test_what_is_given_stays():
    assert AutoAlphas(low=4, high=24).around(99) == Alphas(low=4, high=24)
    assert AutoAlphas(low="auto", high=24).around(4.8) == Alphas(low=2, high=24)


def test_the_paper_s_own_lie_around_their_middle():
    found = AutoAlphas(low="auto", high="auto").around((4 * 24) ** 0.5)
    assert (found.low, found.high) == pytest.approx((4, 24), rel=0.03)


def test_a_value_beyond_the_chosen_one_changes_places_with_it():
    assert AutoAlphas(low=9, high="auto").around(1.0) == Alphas(low=2.4, high=9)


def test_exchanged_numbers_are_refused():
    with pytest.raises(ValueError, match="swap them"):
        AutoAlphas(low=24, high=4)
