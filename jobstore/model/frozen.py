"""Values that nobody may change: the type checker ensures that.

A frozen dataclass of the standard library watches it at run time, and pays for that: it sets each
field by a call, which takes 2.0 us for a value with 17 of them, and compiles six functions for each
class, which took a tenth of a server's start. Here setting takes 0.5 us, and only ``__init__`` is
compiled: what compares, hashes and shows a value is made of parts that all classes share.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from operator import attrgetter
from reprlib import recursive_repr
from typing import Any, TypeVar, dataclass_transform, overload

T = TypeVar("T")


@overload
@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def frozen(made: type[T], /) -> type[T]: ...


@overload
def frozen(*, kw_only: bool) -> Callable[[type[T]], type[T]]: ...


def frozen(
    made: type[T] | None = None, /, *, kw_only: bool = False
) -> type[T] | Callable[[type[T]], type[T]]:
    """Make a dataclass with slots, which compares by its fields and counts as frozen."""

    def make(plain: type[T]) -> type[T]:
        return _by_fields(dataclass(slots=True, kw_only=kw_only, eq=False, repr=False)(plain))

    return make if made is None else make(made)


def _by_fields(made: type[T]) -> type[T]:
    """Have values compared, hashed and shown by their fields, unless their class does it itself."""
    names = [each.name for each in fields(made) if each.compare]  # type: ignore[arg-type]
    values: Callable[[Any], object] = attrgetter(*names) if names else lambda _: ()

    def equal(self: object, other: object) -> bool:
        return (
            values(self) == values(other) if other.__class__ is self.__class__ else NotImplemented
        )

    def hashed(self: object) -> int:
        return hash(values(self))

    for name, method in (("__eq__", equal), ("__hash__", hashed), ("__repr__", _shown)):
        if name not in vars(made):
            setattr(made, name, method)
    return made


@recursive_repr()
def _shown(self: Any) -> str:
    shown = [f"{each.name}={getattr(self, each.name)!r}" for each in fields(self) if each.repr]
    return f"{type(self).__qualname__}({', '.join(shown)})"
