"""The README and the site: whole, of the right length, and without a link that leads nowhere."""

import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import click
import pytest
from click.testing import CliRunner

from jobstore import __version__
from jobstore.cli.commands import cli
from jobstore.dialects.native.routes import openapi
from pages import PAGES, file_of, man, whole
from tests.docs.pasting import README, ROOT, all_blocks, page, pages

STRICT: Final = ("--fresh-env", "--fail-on-warning", "--keep-going", "--nitpicky")
LINK: Final = re.compile(r"\]\((?!https?:)([^)#\s]*)(?:#([^)\s]+))?\)")
EXAMPLE: Final = (ROOT / "config.example.toml").read_text("utf-8")


def test_the_readme_can_be_read_in_one_go() -> None:
    assert len(page(README).splitlines()) <= 250


def test_the_changelog_begins_with_this_version_or_with_what_is_to_come() -> None:
    first, *older = re.split(r"^## ", page("CHANGELOG.md"), flags=re.MULTILINE)[1:]
    assert re.match(rf"\[(Unreleased|{re.escape(__version__)})\]", first)
    assert not any(each.startswith("[Unreleased]") for each in older)
    kinds = [
        each for each in re.findall(r"^### (.+)$", first, re.MULTILINE) if "Upgrade" not in each
    ]
    assert kinds == [each for each in ("Added", "Changed", "Fixed") if each in kinds]


def anchor(heading: str) -> str:
    """Give the name by which a heading is linked to."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("name", pages())
def test_each_link_leads_somewhere(name: str) -> None:
    for place, heading in LINK.findall(page(name)):
        file = (ROOT / name).parent / place if place else ROOT / name
        assert file.exists(), place
        if heading:
            headings = re.findall(r"^#+ (.+)$", file.read_text("utf-8"), re.MULTILINE)
            assert heading in map(anchor, headings), f"{place}#{heading}"


def test_each_command_that_is_named_exists() -> None:
    texts = [page(name) for name in pages()]
    code = "\n".join(block.code for text in texts for block in all_blocks(text))
    named = re.findall(r"`jobstore ([a-z-]+)", "".join(texts))
    called = re.findall(r"^jobstore ([a-z][a-z-]*)", code, re.MULTILINE)
    assert {*named, *called} <= {*cli.commands}


@pytest.mark.parametrize("name", PAGES)
def test_a_generated_page_is_committed_as_it_would_be_written_today(name: str) -> None:
    told = "all of them are written by: PYTHONPATH=.:scripts .venv/bin/python -m pages"
    assert file_of(name).read_text("utf-8") == whole(name), told


@pytest.mark.parametrize("command", cli.list_commands(click.Context(cli)))
def test_each_command_stands_in_the_reference(command: str) -> None:
    assert f"\n### `jobstore {command}`\n" in PAGES["reference/commands"]()


def test_the_reference_and_the_manual_page_have_the_groups_of_the_help() -> None:
    helped = CliRunner().invoke(cli, ["--help"]).output
    _, *groups = re.findall(r"^(\w.+):$", helped, re.MULTILINE)
    assert groups[:2] == ["Serve and set up", "Look at jobs"]
    chapters = re.findall(r"^## (.+)$", PAGES["reference/commands"](), re.MULTILINE)
    assert chapters == groups
    sections = re.findall(r'^\.SH "(.+)"$', man.man(), re.MULTILINE)
    assert sections == [title.upper() for title in groups]


def test_each_option_stands_in_the_reference() -> None:
    shown = PAGES["reference/commands"]()
    assert "| `--running-at TIME` | Jobs that were running at TIME. |" in shown
    assert "`jobstore user token`" in shown


def test_each_call_stands_in_the_reference() -> None:
    shown = PAGES["reference/api"]()
    paths = openapi()["paths"]
    assert isinstance(paths, dict)
    for path, methods in paths.items():
        for method in methods:
            assert f"\n### `{method.upper()} {path}`\n" in shown


@pytest.mark.parametrize("key", sorted(set(re.findall(r"^(?:# )?(\w+) = ", EXAMPLE, re.MULTILINE))))
def test_each_key_stands_in_the_reference(key: str) -> None:
    assert f"| `{key}` | " in PAGES["reference/configuration"]()


def built(docs: Path, out: Path) -> subprocess.CompletedProcess[str]:
    """Build a site as `scripts/docs` does."""
    if find_spec("myst_parser") is None or find_spec("furo") is None:
        reason = "needs what the documentation is built with: scripts/setup docs"
        (pytest.fail if "CI" in os.environ else pytest.skip)(reason)
    return subprocess.run(
        [sys.executable, "-m", "sphinx", "--builder", "html", *STRICT, "--quiet", docs, out],
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_the_script_builds_as_strictly_as_the_test() -> None:
    assert all(flag in (ROOT / "scripts" / "docs").read_text("utf-8") for flag in STRICT)


def test_the_site_is_built_without_a_warning_and_asks_nobody_else(tmp_path: Path) -> None:
    done = built(ROOT / "docs", tmp_path / "site")
    assert (done.stderr, done.returncode) == ("", 0)
    for file in (tmp_path / "site").rglob("*.html"):
        loaded = re.findall(
            r'<(?:script|link|img)[^>]* (?:src|href)="(https?:[^"]+)', file.read_text()
        )
        assert loaded == [], file
    assert "idempot" in (tmp_path / "site" / "searchindex.js").read_text()


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("[gone](gone.md)", "cross-reference target not found: 'gone.md'"),
        ("[gone](index.md#gone)", "local id not found"),
        ("```{nothing}\n```", "Unknown directive type: 'nothing'"),
    ],
)
def test_a_page_that_is_wrong_is_an_error(tmp_path: Path, wrong: str, said: str) -> None:
    (tmp_path / "jobstore").symlink_to(ROOT / "jobstore")
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "conf.py").write_text((ROOT / "docs" / "conf.py").read_text("utf-8"))
    (tmp_path / "docs" / "index.md").write_text(f"# Site\n\n{wrong}\n")
    done = built(tmp_path / "docs", tmp_path / "site")
    assert said in done.stderr
    assert done.returncode != 0
