"""What is used of aiohttp's own is listed in one place, and is there in the release installed."""

import ast
import importlib
import inspect
import pkgutil
import re
import textwrap
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import jobstore
from jobstore.http import private

ROOT = Path(jobstore.__file__).parent
ASSIGNED = re.compile(r"self\.(_[a-z]\w*)\s*(?::[^=\n]+)?=(?!=)")
USED = re.compile(r"(?:self|super\(\))\.(_[a-z]\w*)")


def source_of(kind: type) -> str:
    return textwrap.dedent(inspect.getsource(kind))


@cache
def names_of(kind: type) -> set[str]:
    """List the names that a class has or gives to its instances, and keeps for itself."""
    slots = vars(kind).get("__slots__", ())
    assigned = ASSIGNED.findall(source_of(kind)) if inspect.isclass(kind) else ()
    return {name for name in (*vars(kind), *slots, *assigned) if re.match(r"_[a-z]", name)}


@cache
def classes() -> Sequence[type]:
    """Give all classes of ours."""
    return [
        kind
        for module in pkgutil.walk_packages([str(ROOT)], "jobstore.")
        if module.name != "jobstore.__main__"
        for _, kind in inspect.getmembers(importlib.import_module(module.name), inspect.isclass)
        if kind.__module__ == module.name
    ]


def is_ours(kind: type) -> bool:
    return kind.__module__.startswith("jobstore.")


def is_aiohttps(kind: type) -> bool:
    return kind.__module__.startswith("aiohttp.")


def test_all_that_is_inherited_is_there_in_this_release() -> None:
    missing = {
        (base.__name__, name)
        for base, names in private.INHERITED.items()
        for name in names
        if not any(name in names_of(kind) for kind in base.__mro__ if is_aiohttps(kind))
    }
    assert not missing


def test_all_that_is_inherited_is_listed() -> None:
    unlisted = {
        (kind.__qualname__, name)
        for kind in classes()
        for name in set(USED.findall(source_of(kind)))
        - set().union(*(private.INHERITED.get(base, set()) for base in kind.__mro__))
        if any(name in names_of(base) for base in kind.__mro__ if is_aiohttps(base))
        and not any(name in names_of(base) for base in kind.__mro__ if is_ours(base))
    }
    assert not unlisted


def test_nothing_is_listed_that_is_not_used() -> None:
    used = {
        (base, name)
        for kind in classes()
        for base in kind.__mro__
        if base in private.INHERITED
        for name in USED.findall(source_of(kind))
    }
    listed = {(base, name) for base, names in private.INHERITED.items() for name in names}
    assert not listed - used


def test_only_one_module_reaches_into_what_is_not_its_own() -> None:
    reaching = {
        str(path.relative_to(ROOT))
        for path in ROOT.rglob("*.py")
        if re.search(r"noqa: [^\n]*SLF001", path.read_text())
    }
    assert reaching == {"http/private.py"}


def test_each_function_reaches_for_names_that_are_there() -> None:
    tree = ast.parse((ROOT / "http" / "private.py").read_text())
    reached = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and re.match(r"_[a-z]", node.attr)
    }
    import aiohttp.web_app  # only here

    bases = {*private.INHERITED, aiohttp.web_app.Application, aiohttp.StreamReader}
    bases |= {aiohttp.web.StreamResponse}
    there = {
        name
        for base in bases
        for kind in base.__mro__
        if is_aiohttps(kind)
        for name in names_of(kind)
    }
    assert reached
    assert not reached - there
