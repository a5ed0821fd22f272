"""The commands of the page about the dashboard are pasted into a shell, and its words are held."""

import re
import struct
import tomllib
from pathlib import Path

import pytest

import jobstore
from jobstore.config import load
from tests.conftest import Start
from tests.docs.pasting import ROOT, Shell, all_blocks, as_shown, blocks_of

PAGE = (ROOT / "docs" / "dashboard.md").read_text("utf-8")
TEMPLATES = Path(jobstore.__file__).parent / "dashboard" / "templates"
LARGEST_PICTURE = 200 * 1000

pytestmark = pytest.mark.file


async def test_it_answers_as_it_is_shown(
    tmp_path: Path, server_process: Start, store_path: Path
) -> None:
    assert store_path == tmp_path / "jobs.db"
    shell = Shell(tmp_path, (await server_process()).url)
    for block in blocks_of(PAGE, "dashboard"):
        printed = await shell.paste(block.code)
        assert block.output is not None
        assert as_shown(block.output, printed), f"{block.code}\n{printed}"


def test_the_configurations_are_what_they_are_said_to_be() -> None:
    apart, none = (
        load(None, tomllib.loads(block.code), environ={})
        for block in all_blocks(PAGE)
        if block.language == "toml"
    )
    assert [str(each) for each in apart.admin.listen] == ["127.0.0.1:9529"]
    assert (apart.dashboard.enabled, none.dashboard.enabled) == (True, False)


def test_each_page_and_each_key_is_told_of() -> None:
    frame = (TEMPLATES / "base.html").read_text("utf-8")
    sections = re.findall(r'\("(\w+)", "\w*", ', frame)
    assert {*re.findall(r"^\| (\w+) \| ", PAGE, re.MULTILINE)} - {"Page", "Key"} == {
        *sections,
        "Job",
    }
    keys = re.findall(r"<kbd>([^<]+)</kbd>", frame)
    told = PAGE.partition("## Keys")[2].partition("##")[0]
    assert {*re.findall(r"`([^`]+)`", told)} == {*keys}


def test_pictures_are_there_and_no_larger_than_they_have_to_be() -> None:
    pictures = re.findall(r"!\[[^\]]+\]\((_static/[^)]+)\)", PAGE)
    assert len(pictures) > 5
    for picture in pictures:
        content = (ROOT / "docs" / picture).read_bytes()
        width, _ = struct.unpack(">II", content[16:24])  # https://www.w3.org/TR/png-3/#11IHDR
        assert (content[1:4], width) == (b"PNG", 1280)
        assert len(content) < LARGEST_PICTURE
