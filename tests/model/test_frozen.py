"""Values compare, hash and show themselves by their fields."""

from dataclasses import field, replace

import pytest

from jobstore.model.frozen import frozen


@frozen
class Place:
    """A value with a field that does not count and one that is not shown."""

    name: str
    at: int = 0
    seen: int = field(default=0, compare=False)
    secret: str = field(default="", repr=False)


@frozen(kw_only=True)
class Other:
    """A value whose fields have to be named."""

    name: str
    inner: object = None


@frozen
class Empty:
    """A value without fields."""


@frozen
class Loud:
    """A value that shows itself, and is only itself."""

    name: str

    def __repr__(self) -> str:
        return self.name.upper()

    def __eq__(self, other: object) -> bool:
        return self is other

    __hash__ = object.__hash__


def test_values_are_equal_if_the_fields_are_that_count() -> None:
    assert Place("here", 1, seen=1) == Place("here", 1, seen=2)
    assert Place("here", 1) != Place("here", 2)
    assert Place("here", secret="a") != Place("here", secret="b")
    assert Empty() == Empty()


def test_values_of_different_classes_are_different() -> None:
    here: list[object] = [Other(name="here"), Place("here"), "here"]
    assert [[one == other for other in here] for one in here] == [
        [True, False, False],
        [False, True, False],
        [False, False, True],
    ]


def test_equal_values_are_one_key() -> None:
    assert {Place("here", seen=1): "found"}[Place("here", seen=2)] == "found"
    assert len({Empty(), Empty()}) == 1


def test_a_value_with_something_in_it_that_has_no_hash_has_none() -> None:
    with pytest.raises(TypeError, match="unhashable"):
        hash(Other(name="here", inner=[]))


def test_a_value_shows_its_fields_but_those_that_are_hidden() -> None:
    assert repr(Place("here", 1, secret="hidden")) == "Place(name='here', at=1, seen=0)"
    assert repr(Empty()) == "Empty()"


def test_a_value_that_contains_itself_can_be_shown() -> None:
    inner: list[object] = []
    value = Other(name="here", inner=inner)
    inner.append(value)
    assert repr(value) == "Other(name='here', inner=[...])"


def test_what_a_class_says_for_itself_stays() -> None:
    value = Loud("here")
    assert repr(value) == "HERE"
    assert value != Loud("here")
    assert hash(value) == object.__hash__(value)


def test_fields_are_named_where_that_is_asked_for() -> None:
    with pytest.raises(TypeError, match="positional"):
        Other("here")  # type: ignore[call-arg]


def test_a_value_has_no_room_for_anything_else() -> None:
    with pytest.raises(AttributeError):
        Place("here").colour = "red"  # type: ignore[attr-defined]


def test_a_value_is_replaced_by_another() -> None:
    assert replace(Place("here", 1), at=2) == Place("here", 2)
