"""The line: order, bounds, one place for each visitor."""

import pytest

from vasa.app.line import Line


def test_visitors_come_in_the_order_in_which_they_joined():
    line = Line(most=2)
    with line.join("a") as first:
        second, third = line.join("b"), line.join("c")
        assert [place.ahead for place in (first, second, third)] == [0, 1, 2]
    with second:
        assert [place.ahead for place in (second, third)] == [0, 1]
    assert third.ahead == 0


def test_one_who_goes_away_lets_those_behind_move_up():
    line = Line(most=2)
    with line.join("a"):
        with line.join("b"):
            last = line.join("c")
        assert last.ahead == 1


def test_nobody_has_two_places_and_the_line_is_bounded():
    line = Line(most=1)
    with line.join("a"):
        with pytest.raises(ValueError, match="A video of yours is being made"):
            line.join("a")
        with line.join("b"), pytest.raises(ValueError, match="Busy: one video is being made and 1 wait"):
            line.join("c")
    assert len(line) == 0
    with line.join("a") as again:
        assert again.ahead == 0


def test_a_place_is_left_by_an_error_too():
    line = Line(most=0)
    with pytest.raises(ZeroDivisionError), line.join("a"):
        raise ZeroDivisionError
    assert len(line) == 0
