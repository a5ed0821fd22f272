"""The sentences with which jobstore refuses something, as they stand in its source."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Final

PACKAGE: Final = Path(__file__).parents[2] / "jobstore"

# What stands for a value that a sentence names.
VALUE: Final = "…"

# Where a `ValueError` is for people: elsewhere it is for whoever wrote the code.
_READ_FROM_PEOPLE: Final = frozenset({"config", "model", "dialects", "cli", "store"})
_FOR_PEOPLE: Final = frozenset({"Complaint", "UsageError", "BadParameter", "CannotListen"})
_ENDINGS: Final = ("Error", "Invalid", "Problem", "State", "Broken", "Limit")
_KINDS: Final = frozenset(
    {"Forbidden", "NoTarget", "NotAccepting", "ArangoError", "KeyInvalid", "StoreAway"}
)
_FOR_PROGRAMMERS: Final = frozenset({"RuntimeError", "TypeError", "AssertionError", "OSError"})


def sentences() -> list[str]:
    """List them, each once, by the part of the package that says them."""
    found: set[tuple[str, str]] = set()
    for file in sorted(PACKAGE.rglob("*.py")):
        place = file.relative_to(PACKAGE).parts[0].removesuffix(".py")
        for text in _in_module(ast.parse(file.read_text("utf-8")), place):
            found.add((place, text))
    return [f"{place}: {text}" for place, text in sorted(found)]


def _in_module(module: ast.Module, place: str) -> Iterator[str]:
    constants = {
        target.id: node.value
        for node in module.body
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
        if isinstance(target, ast.Name)
    }
    for node in ast.walk(module):
        if isinstance(node, ast.Call) and _refuses(node, place):
            for argument in node.args:
                text = _text(argument, constants)
                if " " in text.replace(VALUE, "").strip():
                    yield text


def _refuses(call: ast.Call, place: str) -> bool:
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    if name == "__init__":  # an error kind that makes its own sentence
        return place == "model"
    if name == "ValueError":
        return place in _READ_FROM_PEOPLE
    kind = name in _FOR_PEOPLE | _KINDS or (name[:1].isupper() and name.endswith(_ENDINGS))
    return kind and name not in _FOR_PROGRAMMERS


def _text(node: ast.expr, constants: dict[str, ast.expr]) -> str:
    match node:
        case ast.Constant(value=str() as text):
            return text
        case ast.JoinedStr(values=parts):
            return "".join(_text(part, constants) for part in parts)
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return _text(left, constants) + _text(right, constants)
        case ast.Name(id=name) if name in constants:
            return _text(constants[name], {})
    return VALUE
