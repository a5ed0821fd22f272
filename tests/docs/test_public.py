"""What `import jobstore` offers, and that its page says all of it."""

import inspect
import subprocess
import sys
from typing import Final

import pytest

import jobstore
from pages.python import CLASSES, FUNCTIONS, METHODS, public, python

PAGE: Final = python()
ERRORS: Final = {
    "BeingDelivered",
    "ConfigError",
    "JobNotFound",
    "JobstoreError",
    "NotAccepting",
    "StoreError",
    "SubmissionInvalid",
}


def test_these_names_are_public_and_no_others() -> None:
    assert {*jobstore.__all__} == {*FUNCTIONS, *CLASSES, *ERRORS}
    assert {*dir(jobstore)} == {*jobstore.__all__, "__version__"}
    with pytest.raises(AttributeError, match="has no attribute 'Store'"):
        jobstore.Store  # noqa: B018 - it is asked for


@pytest.mark.parametrize("name", [*FUNCTIONS, *CLASSES])
def test_each_name_has_a_section_that_says_what_it_is(name: str) -> None:
    section = PAGE.partition(f"## `jobstore.{name}`\n")[2].partition("\n## ")[0]
    assert len(section.strip()) > len("Return it.")


@pytest.mark.parametrize(
    ("kind", "method"), [(kind, method) for kind in METHODS for method in METHODS[kind]]
)
def test_each_method_is_there_and_says_what_each_argument_means(kind: str, method: str) -> None:
    found = inspect.getattr_static(public(kind), method)
    assert inspect.getdoc(found)
    section = PAGE.partition(f"### `{kind}.{method}`\n")[2].partition("\n### ")[0]
    if callable(found):
        arguments = [*inspect.signature(found).parameters][1:]
        explained = [each for each in arguments if f"| `{each}` |" in section]
        assert len(arguments) - len(explained) <= 1  # what its name says is not said twice


@pytest.mark.parametrize("name", sorted(ERRORS))
def test_each_error_is_named_with_its_meaning(name: str) -> None:
    assert f"| `jobstore.{name}` |" in PAGE


def test_no_type_is_written_as_python_shows_it_to_nobody() -> None:
    assert "<class" not in PAGE
    assert "<function" not in PAGE


def test_importing_the_package_loads_none_of_it() -> None:
    asked = "import sys, jobstore; print([name for name in sys.modules if 'aiohttp' in name])"
    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
