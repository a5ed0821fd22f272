"""Every sentence that refuses something is listed here, and can be read by who gets it."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

import jobstore
from jobstore.model import errors
from jobstore.model.errors import JobstoreError
from pages.messages import MESSAGES, messages
from pages.sentences import PACKAGE, sentences

LISTED: Final = Path(__file__).with_name("sentences.txt")
ADVISED: Final = [each for subject in MESSAGES.values() for each in subject]

# Kinds that only stand for others.
ABSTRACT: Final = {
    errors.StoreError,
    errors.StoreUnavailable,
    errors.StoreLost,
    errors.NotAccepting,
    errors.TargetFailed,
}
# Words of the code that nobody knows who has not read it.
PRIVATE: Final = re.compile(
    r"\b(tuple|dict|NoneType|kwargs|coroutine|boot|lane|claim|fenced|dispatch|executor failed|"
    r"subscriber|traceback|desk|janitor|tx|enum|pydantic|regex|asyncio)\b"
)
CLASSES: Final = frozenset(
    name
    for file in PACKAGE.rglob("*.py")
    for name in re.findall(r"^class (\w*[a-z][A-Z]\w*)", file.read_text("utf-8"), re.MULTILINE)
)
MODULE: Final = re.compile(r"\b(jobstore|aiohttp|sqlalchemy|psycopg|sqlite3)\.(\w+)")


def kinds(kind: type[JobstoreError] = JobstoreError) -> Iterator[type[JobstoreError]]:
    """List the kinds of errors below one, those in `jobstore.model.errors`."""
    for below in kind.__subclasses__():
        if below.__module__.startswith(f"{errors.__name__}."):
            yield below
            yield from kinds(below)


def test_the_sentences_are_the_listed_ones() -> None:
    listed = LISTED.read_text("utf-8").splitlines()
    found = sentences()
    assert {*found} - {*listed} == set(), "new: read them once more, then add them to the list"
    assert {*listed} - {*found} == set(), "gone: remove them from the list"
    assert listed == sorted(listed)


def test_each_kind_of_error_has_its_words_and_advice() -> None:
    assert {type(error) for error, _ in ADVISED} == {*kinds()} - ABSTRACT


def test_the_drawn_tree_has_each_kind_below_its_base() -> None:
    drawn: list[tuple[str, str]] = []
    above = ["JobstoreError"]
    for line in (errors.__doc__ or "").splitlines():
        if branch := re.match(r"([│ ]*)[├└]── (\w+)", line):
            depth = len(branch[1]) // 4 + 1
            above[depth:] = [branch[2]]
            drawn.append((branch[2], above[depth - 1]))
    assert sorted(drawn) == sorted((kind.__name__, kind.__mro__[1].__name__) for kind in kinds())


def told(text: str) -> bool:
    """Whether a sentence names something that only its authors know."""
    said = text.partition(": ")[2] or text
    return bool(
        PRIVATE.search(said)
        or not CLASSES.isdisjoint(re.findall(r"\w+", said.replace("jobstore.Identity", "")))
        or any(name not in {*jobstore.__all__, "db"} for _, name in MODULE.findall(said))
        or re.search(r"(?:^|\s)_\w|%", said)
    )


@pytest.mark.parametrize(
    "text",
    [
        "cli: expected a RequestInvalid",
        "cli: expected jobstore.model",
        "cli: no such tuple",
        "cli: the name _private",
        "cli: %s is gone",
    ],
)
def test_a_private_word_is_noticed(text: str) -> None:
    assert told(text)


def test_no_sentence_names_what_only_its_authors_know() -> None:
    assert [text for text in sentences() if told(text)] == []
    assert [str(error) for error, _ in ADVISED if told(f"model: {error}")] == []


def test_an_error_is_a_clause_and_its_advice_a_sentence() -> None:
    for error, advice in ADVISED:
        assert re.match(r"[a-z\[/\"0-9A-Z]", str(error)), error
        assert not str(error).endswith((".", ";", ":", " ")), error
        assert re.fullmatch(r"[A-Z].*\.", advice), error


def test_the_page_shows_each_of_them() -> None:
    shown = messages()
    assert all(str(error).replace("|", "\\|") in shown for error, _ in ADVISED)
