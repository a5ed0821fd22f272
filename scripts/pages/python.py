"""The public names of the package, from their docstrings and annotations."""

import dataclasses
import enum
import inspect
import re
from collections.abc import Iterator
from typing import Any, Final

import jobstore
from jobstore.model.coded import JobOptions
from pages.markdown import code, table

# The methods that an application calls; what else a class has is for jobstore itself.
METHODS: Final = {
    "Jobs": ("submit", "ended", "take", "cancel"),
    "JobHandle": ("cancelled", "progress", "counters", "report", "count", "warn"),
}
FUNCTIONS: Final = ("setup", "current")
CLASSES: Final = ("Jobs", "JobHandle", "Identity", "Role", "Job", "State", "Response")

_SECTION: Final = re.compile(r"^(Args|Attributes|Returns|Raises):$", re.MULTILINE)
_ITEM: Final = re.compile(r"^(\w+): ", re.MULTILINE)


def python() -> str:
    """Write a section for each public name."""
    lines = [line for name in FUNCTIONS for line in _function(f"jobstore.{name}", public(name), 2)]
    for name in CLASSES:
        lines += _class(name, public(name))
        if name == "Jobs":
            lines += ["### Options of `submit`\n", *_fields(JobOptions)]
    return "\n".join([*lines, "## Errors\n", *_errors()])


def public(name: str) -> Any:
    """Return what a public name stands for."""
    return getattr(jobstore, name)


def _function(name: str, function: Any, level: int) -> Iterator[str]:
    awaited = "await " if inspect.iscoroutinefunction(function) else ""
    yield f"{'#' * level} `{name}`\n"
    yield f"```text\n{awaited}{name}{_signature(function)}\n```\n"
    yield from _documented(function, _annotations(function))


def _signature(function: Any) -> str:
    found = inspect.signature(function)
    kept = [each for each in found.parameters.values() if each.name not in {"self", "cls"}]
    bare = [each.replace(annotation=each.empty) for each in kept]
    return str(found.replace(parameters=bare, return_annotation=found.empty))


def _annotations(of: Any) -> dict[str, str]:
    return {name: _named(kind) for name, kind in getattr(of, "__annotations__", {}).items()}


def _named(kind: Any) -> str:
    text = kind if isinstance(kind, str) else inspect.formatannotation(kind)
    text = re.sub(r"\b(?:\w+\.)+(\w+)", r"\1", text)
    for long, short in _SHORT.items():
        text = text.replace(long, short)
    return text.replace("NoneType", "None")


_SHORT: Final = {
    "Callable[[Request], Awaitable[Identity | None] | Identity | None]": "a function of a request",
    "Mapping[str, str | list[str] | tuple[str, ...]] | Iterable[tuple[str, str]]": (
        "a mapping, or pairs"
    ),
    "str | float | timedelta": "a duration",
    "*<class 'JobOptions'>": "see below",  # as Python 3.11 writes it
    "Unpack[JobOptions]": "see below",
}


def _class(name: str, kind: Any) -> Iterator[str]:
    yield f"## `jobstore.{name}`\n"
    if issubclass(kind, enum.Enum):
        yield f"{_summary(kind)}\n"
        yield from table(["Name", "Value"], ((code(each.name), code(each.value)) for each in kind))
        return
    if dataclasses.is_dataclass(kind):
        yield from _fields(kind)
    else:
        yield from _documented(kind, _annotations(kind.__init__), of_class=True)
    for method in METHODS.get(name, ()):
        found = inspect.getattr_static(kind, method)
        if isinstance(found, property):
            yield f"### `{name}.{method}`\n\n{_summary(found)}\n"
        else:
            yield from _function(f"{name}.{method}", found, 3)


def _fields(kind: Any) -> Iterator[str]:
    """Write a table of what a value has, with what its docstring says of some."""
    before, sections = _parts(kind)
    yield f"{before}\n"
    said = dict(_items(sections.get("Args", "") or sections.get("Attributes", "")))
    rows = (
        (code(name), code(shown), said.get(name, ""))
        for name, shown in _annotations(kind).items()
        if not name.startswith("_")
    )
    yield from table(["Name", "Type", "Meaning"], rows)


def _documented(of: Any, kinds: dict[str, str], *, of_class: bool = False) -> Iterator[str]:
    before, sections = _parts(of)
    yield f"{before}\n"
    heading = "Attributes" if of_class else "Args"
    rows = (
        (code(name), code(kinds.get(name, "")), meaning)
        for name, meaning in _items(sections.get(heading, ""))
    )
    yield from table(["Attribute" if of_class else "Argument", "Type", "Meaning"], rows)
    if "Returns" in sections:
        kind = kinds.get("return", "")
        yield f"Returns {code(kind)}: {_flat(sections['Returns'])}\n"
    raised = ((code(name), meaning) for name, meaning in _items(sections.get("Raises", "")))
    yield from table(["Error", "When"], raised)


def _parts(of: Any) -> tuple[str, dict[str, str]]:
    before, *found = _SECTION.split(inspect.getdoc(of) or "")
    before = before.strip().replace("``", "`")
    return before, dict(zip(found[::2], map(inspect.cleandoc, found[1::2]), strict=True))


def _summary(of: Any) -> str:
    return _parts(of)[0].partition("\n\n")[0]


def _items(section: str) -> Iterator[tuple[str, str]]:
    _, *found = _ITEM.split(section)
    for name, meaning in zip(found[::2], found[1::2], strict=True):
        yield name, _flat(meaning)


def _flat(text: str) -> str:
    return " ".join(text.split()).replace("``", "`")


def _errors() -> Iterator[str]:
    """Write which errors there are, each with the kind that it is one of."""
    kinds = [public(name) for name in jobstore.__all__]
    errors = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, Exception)]
    rows = ((code(f"jobstore.{kind.__name__}"), _above(kind), _summary(kind)) for kind in errors)
    yield from table(["Error", "Is a", "Meaning"], rows)


def _above(kind: type[Exception]) -> str:
    above = next(
        each for each in kind.__mro__[1:] if each.__name__ in {*jobstore.__all__, "Exception"}
    )
    return code(above.__name__)
