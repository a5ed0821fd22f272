"""The page about monitoring is held against what a server prints, and so is what deploy/ has."""

import json
import logging
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from aiohttp import ClientSession
from prometheus_client.parser import text_string_to_metric_families

from jobstore.cli.logs import Objects
from jobstore.config import load
from jobstore.dialects.native import PROBES
from tests.client import ORDINARY
from tests.conftest import Serve, Start
from tests.docs.pasting import ROOT, Shell, as_shown, blocks_of

PAGE: Final = (ROOT / "docs" / "monitoring.md").read_text("utf-8")
PROMETHEUS: Final = ROOT / "deploy" / "prometheus"
RULES: Final = (PROMETHEUS / "rules.yml").read_text("utf-8")
DASHBOARD: Final = json.loads((ROOT / "deploy" / "grafana" / "jobstore.json").read_text("utf-8"))
NAME: Final = re.compile(r"\bjobstore_[a-z_]+\b")
PROMTOOL: Final = shutil.which("promtool")

needs_promtool = pytest.mark.skipif(
    PROMTOOL is None and "CI" not in os.environ,
    reason="promtool is missing: it is in Debian's package prometheus",
)


async def printed(serve: Serve, http: ClientSession) -> str:
    """Give what a server prints that speaks all dialects."""
    server = await serve(target=ORDINARY)
    async with http.get(f"{server.url}/_jobs/metrics") as answer:
        return await answer.text()


def described() -> Iterator[tuple[str, str, frozenset[str], str]]:
    """Read the table of the page: names, types, labels, and whose each metric is."""
    (table,) = re.findall(r"<!-- metrics -->\n((?:\|.*\n)+)", PAGE)
    for line in table.splitlines()[2:]:
        name, kind, labels, whose, _ = (cell.strip() for cell in line.strip("|").split("|"))
        yield name.strip("` "), kind, frozenset(re.findall(r"`(\w+)`", labels)), whose


async def test_the_table_says_what_is_printed(serve: Serve, http: ClientSession) -> None:
    families = {
        family.name: family
        for family in text_string_to_metric_families(await printed(serve, http))
        if family.name.startswith("jobstore_")
    }
    said = {name.removesuffix("_total"): (kind, labels) for name, kind, labels, _ in described()}
    found = {}
    for name, family in families.items():
        labels = {label for sample in family.samples for label in sample.labels} - {"le"}
        info = name.endswith("_info")
        found[name] = ("info" if info else family.type, frozenset(labels))
    assert said == found


async def test_whose_a_number_is_stands_beside_it(serve: Serve, http: ClientSession) -> None:
    text = await printed(serve, http)
    help_of = dict(re.findall(r"^# HELP (\w+) (.*)$", text, re.MULTILINE))
    told = {name: "store" for name in help_of if "In the store" in help_of[name]}
    of_store = {name for name, _, _, whose in described() if whose == "store"}
    assert of_store - set(told) == {"jobstore_store_bytes", "jobstore_disk_free_bytes"}
    assert set(told) <= of_store


def expressions() -> Iterator[str]:
    """Give all expressions of the dashboard."""
    for panel in DASHBOARD["panels"]:
        yield from (target["expr"] for target in panel.get("targets", ()))
    for variable in DASHBOARD["templating"]["list"]:
        if variable["type"] == "query":
            yield variable["definition"]


async def test_what_rules_and_dashboard_ask_for_is_printed(
    serve: Serve, http: ClientSession
) -> None:
    text = await printed(serve, http)
    samples = {
        sample.name for family in text_string_to_metric_families(text) for sample in family.samples
    }
    asked = {name for each in (*expressions(), RULES) for name in NAME.findall(each)}
    assert asked
    assert asked <= samples


def test_each_panel_has_a_place_of_its_own_and_nodes_and_targets_to_choose() -> None:
    panels: list[dict[str, Any]] = DASHBOARD["panels"]
    places = [tuple(panel["gridPos"][side] for side in "xy") for panel in panels]
    assert len({*places}) == len(panels) == len({panel["id"] for panel in panels})
    assert [each["name"] for each in DASHBOARD["templating"]["list"]] == [
        "datasource",
        "instance",
        "target",
    ]
    assert all("$instance" in each or each.startswith("label_values") for each in expressions())


def promtool(*arguments: str, given: str = "") -> str:
    """Run promtool, which has to be content; return what it says."""
    assert PROMTOOL is not None, "promtool is missing: install Debian's package prometheus"
    done = subprocess.run(
        [PROMTOOL, *arguments],
        cwd=PROMETHEUS,
        input=given,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@needs_promtool
def test_the_rules_hold_and_pass_their_tests() -> None:
    assert "11 rules found" in promtool("check", "rules", "rules.yml")
    promtool("test", "rules", "rules_test.yml")


@needs_promtool
async def test_promtool_has_nothing_to_say_against_the_names(
    serve: Serve, http: ClientSession
) -> None:
    assert promtool("check", "metrics", given=await printed(serve, http)) == ""


@needs_promtool
def test_each_expression_of_the_dashboard_is_one_of_prometheus(tmp_path: Path) -> None:
    lines = ["groups:", "- name: dashboard", "  rules:"]
    for number, each in enumerate(expressions()):
        if not each.startswith("label_values"):
            expression = each.replace("$__rate_interval", "5m")
            lines += [f"  - record: panel:{number}", f"    expr: {json.dumps(expression)}"]
    (tmp_path / "panels.yml").write_text("\n".join(lines))
    assert "SUCCESS" in promtool("check", "rules", str(tmp_path / "panels.yml"))


@needs_promtool
def test_prometheus_takes_the_configuration_that_is_shown(tmp_path: Path) -> None:
    (shown,) = re.findall(r"```yaml\n(scrape_configs:\n.*?)```", PAGE, re.DOTALL)
    token = tmp_path / "jobstore.token"
    token.write_text("a token")
    written = shown.replace("/etc/prometheus/jobstore.token", str(token))
    assert written != shown
    (tmp_path / "prometheus.yml").write_text(written)
    assert "SUCCESS" in promtool("check", "config", str(tmp_path / "prometheus.yml"))


def test_what_kubernetes_and_load_balancers_ask_needs_no_login() -> None:
    asked = re.findall(r"(?:path: |httpchk GET )(/\S+?)[,`]", PAGE)
    assert len(asked) == 3
    assert {*asked} == PROBES


def test_the_configuration_that_is_shown_is_one(tmp_path: Path) -> None:
    (block,) = blocks_of(PAGE, "tracing")
    (tmp_path / "jobstore.toml").write_text(block.code)
    assert load(tmp_path / "jobstore.toml", environ={}).tracing.enabled


def test_the_log_line_that_is_shown_has_what_lines_have() -> None:
    (shown,) = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
    line = json.loads(shown)
    record = logging.makeLogRecord(
        {
            "name": line["logger"],
            "levelname": line["level"].upper(),
            "msg": line["message"],
            **{name: line[name] for name in list(line)[4:]},
        }
    )
    written = json.loads(Objects().format(record))
    assert list(written) == list(line)
    assert {**written, "time": line["time"]} == line


async def test_the_probes_answer_as_it_is_shown(server_process: Start, tmp_path: Path) -> None:
    server = await server_process()
    shell = Shell(tmp_path, server.url)
    for block in blocks_of(PAGE, "probes"):
        shown = await shell.paste(block.code)
        assert block.output is not None
        assert as_shown(block.output, shown), f"{block.code}\n{shown}"
