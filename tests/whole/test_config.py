import re
import tomllib
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from jobstore.config import Config, TargetSection, load
from jobstore.config.sections import DEMO
from jobstore.model.errors import ConfigError
from jobstore.model.job import Replay

EXAMPLE = Path(__file__).parents[2] / "config.example.toml"
MINUTE, HOUR, DAY = 60, 3600, 86400

Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    monkeypatch.chdir(tmp_path)

    def _write(text: str) -> Path:
        file = Path("jobs.toml")
        file.write_text(text)
        return file

    return _write


def from_env(**environ: str) -> Config:
    return load(None, environ={f"JOBSTORE_{name}": value for name, value in environ.items()})


def from_flags(**overrides: Any) -> Config:
    return load(None, overrides, environ={})


def refusal(
    file: Path | None = None,
    overrides: dict[str, Any] | None = None,
    environ: dict[str, str] | None = None,
) -> str:
    with pytest.raises(ConfigError) as refused:
        load(file, overrides, environ or {})
    return str(refused.value)


def refused_flag(section: str, key: str, value: object) -> str:
    return refusal(overrides={section: {key: value}})


# Layers


def test_with_nothing_given_every_key_has_its_default() -> None:
    assert load(None, environ={}) == Config()


def test_the_file_overrides_the_defaults(write: Write) -> None:
    assert load(write("[server]\nport = 9000"), environ={}).server.port == 9000


def test_the_environment_overrides_the_file(write: Write) -> None:
    file = write("[server]\nport = 9000")
    assert load(file, environ={"JOBSTORE_SERVER__PORT": "9001"}).server.port == 9001


def test_flags_override_the_environment() -> None:
    environ = {"JOBSTORE_SERVER__PORT": "9001"}
    assert load(None, {"server": {"port": 9002}}, environ).server.port == 9002


def test_a_layer_leaves_the_other_keys_of_a_section_alone(write: Write) -> None:
    file = write('[server]\nhost = "::1"\nport = 1')
    server = load(file, {"server": {"port": 3}}, {"JOBSTORE_SERVER__PORT": "2"}).server
    assert (server.host, server.port) == ("::1", 3)


def test_a_flag_that_was_not_given_overrides_nothing() -> None:
    overrides = {"server": {"host": None, "port": 1}, "target": None}
    assert load(None, overrides, {}) == from_flags(server={"port": 1})


def test_without_an_environment_given_the_process_has_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOBSTORE_SERVER__PORT", "9003")
    assert load(None).server.port == 9003


def test_the_environment_writes_a_list_with_commas() -> None:
    assert from_env(PRIVACY__REDACT="X-Api-Key, x-token").privacy.redact == ("x-api-key", "x-token")
    assert from_env(PRIVACY__REDACT="").privacy.redact == ()


def test_unless_it_is_said_the_dialects_are_those_of_the_demo_and_no_services() -> None:
    assert from_flags().dialects == ("kinetica", "datameer")
    assert from_flags(target=[{"app": DEMO}]).dialects == ("kinetica", "datameer")
    assert from_flags(target=[{"upstream": "http://app:9000"}]).dialects == ()
    assert from_flags(target=[{"app": DEMO}, {"prefix": "/a", "app": "a:a"}]).dialects == ()
    assert from_env(SERVER__DIALECTS="auto").dialects == ("kinetica", "datameer")


def test_the_dialects_that_are_named_are_those_in_force() -> None:
    target = [{"upstream": "http://app:9000"}]
    assert from_flags(server={"dialects": ["datameer"]}, target=target).dialects == ("datameer",)
    assert from_env(SERVER__DIALECTS="kinetica, datameer", TARGET__APP="a:a").dialects == (
        "kinetica",
        "datameer",
    )
    assert from_env(SERVER__DIALECTS="").dialects == ()
    assert 'expected "auto", or a list' in refused_flag("server", "dialects", "oracle")


def test_the_environment_can_name_one_target_instead_of_the_files(write: Write) -> None:
    file = write('[[target]]\nprefix = "/a"\napp = "a:a"\n[[target]]\napp = "b:b"')
    (target,) = load(file, environ={"JOBSTORE_TARGET__UPSTREAM": "http://app:9000"}).targets
    assert (target.prefix, target.upstream, target.app) == ("/", "http://app:9000", None)


def test_other_peoples_variables_are_left_alone() -> None:
    assert load(None, environ={"PATH": "/bin", "JOBSTORES": "2", "SERVER__PORT": "x"}) == Config()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SERVICE_HOST", "10.0.0.11"),
        ("SERVICE_PORT", "8529"),
        ("SERVICE_PORT_HTTP", "8529"),
        ("PORT", "tcp://10.0.0.11:8529"),
        ("PORT_8529_TCP", "tcp://10.0.0.11:8529"),
        ("PORT_8529_TCP_ADDR", "10.0.0.11"),
        ("PUBLIC_SERVICE_HOST", "10.0.0.12"),
    ],
)
def test_what_kubernetes_says_about_a_service_of_our_name_is_no_setting(
    name: str, value: str
) -> None:
    assert from_env(**{name: value}) == Config()


# Unknown keys


def test_an_unknown_key_is_an_error_that_names_the_nearest(write: Write) -> None:
    assert refusal(write("[executor]\nqueue_limt = 5")) == (
        "jobs.toml: [executor] queue_limt: no such key; did you mean queue_limit?"
    )


def test_an_unknown_section_is_an_error_that_names_the_nearest(write: Write) -> None:
    assert refusal(write("[servr]\nport = 5")) == (
        "jobs.toml: servr: no such key; did you mean [server]?"
    )
    assert refusal(write('[[targets]]\napp = "a:b"')) == (
        "jobs.toml: targets: no such key; did you mean [[target]]?"
    )


def test_a_key_in_the_wrong_section_is_told_the_right_one(write: Write) -> None:
    assert refusal(write("port = 5")) == "jobs.toml: port: no such key; did you mean [server] port?"
    assert "did you mean [executor] queue_limit?" in refusal(write("[server]\nqueue_limit = 5"))


def test_an_unknown_key_of_a_target_says_of_which(write: Write) -> None:
    file = write('[[target]]\napp = "a:b"\n[[target]]\nprefix = "/x"\nupstrem = "http://x"')
    assert "jobs.toml: [[target]] #2 upstrem: no such key; did you mean upstream?" in refusal(file)


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("JOBSTORE_EXECUTOR__QUEUE_LIMT", "JOBSTORE_EXECUTOR__QUEUE_LIMIT"),
        ("JOBSTORE_SERVER_PORT", "JOBSTORE_SERVER__PORT"),
        ("JOBSTORE_PORT", "JOBSTORE_SERVER__PORT"),
        ("JOBSTORE_SERVR__PORT", "JOBSTORE_SERVER__PORT"),
        ("JOBSTORE_UPSTREAM", "JOBSTORE_TARGET__UPSTREAM"),
        ("JOBSTORE_TARGET__UPSTREM", "JOBSTORE_TARGET__UPSTREAM"),
    ],
)
def test_an_unknown_variable_is_an_error_that_names_the_nearest(wrong: str, right: str) -> None:
    assert f"{wrong}: no such key; did you mean {right}?" in refusal(environ={wrong: "9000"})


def test_an_unknown_flag_is_an_error_too() -> None:
    assert refused_flag("server", "prt", 1) == (
        "command line: [server] prt: no such key; did you mean port?"
    )


# Messages


def test_all_problems_are_told_at_once_each_where_it_stands(write: Write) -> None:
    told = refusal(
        write('[server]\nport = "x"\n[log]\nlevel = "loud"'),
        {"store": {"path": ""}},
        {"JOBSTORE_EXECUTOR__CONCURRENCY": "0", "JOBSTORE_PRIVACY__REDACT": "a b"},
    )
    assert sorted(told.splitlines()) == [
        "JOBSTORE_EXECUTOR__CONCURRENCY: expected a whole number from 1 to 1000000000",
        "JOBSTORE_PRIVACY__REDACT: expected a list of HTTP header names",
        "command line: [store] path: expected a file name",
        'jobs.toml: [log] level: expected "debug", "info", "warning" or "error"',
        "jobs.toml: [server] port: expected a whole number from 0 to 65535",
    ]


def every_key() -> list[tuple[str, str]]:
    sections = {section.name: getattr(Config(), section.name) for section in fields(Config)}
    sections["target"] = TargetSection
    return [(name, key.name) for name, section in sections.items() for key in fields(section)]


def junk_for_every_key() -> list[tuple[str, str, object]]:
    flags = {"open", "forward_credentials", "enabled", "query"}  # for which true is no junk
    return [
        (section, key, junk)
        for section, key in every_key()
        for junk in ([-1, float("nan"), float("inf"), [3], {"a": 1}] + [True] * (key not in flags))
    ]


@pytest.mark.parametrize(("section", "key", "junk"), junk_for_every_key())
def test_junk_is_refused_in_our_own_words(section: str, key: str, junk: object) -> None:
    assert re.fullmatch(r"command line: \[.*\] .*: expected .+", refused_flag(section, key, junk))


def test_a_section_has_to_be_a_table(write: Write) -> None:
    assert refusal(write("server = 5")) == "jobs.toml: [server]: expected a table"
    assert refusal(environ={"JOBSTORE_LOG": "x"}) == "JOBSTORE_LOG: expected a table"
    assert (
        refusal(write("target = 5")) == "jobs.toml: [[target]]: expected tables headed [[target]]"
    )
    assert refusal(write("target = [5]")) == (
        "jobs.toml: [[target]] #1: expected tables headed [[target]]"
    )


def test_each_wrong_item_of_a_list_is_told_by_its_number() -> None:
    expected = "expected a list of status codes such as 429 or 503"
    assert refused_flag("executor", "retry_statuses", [1, "429", 700]).splitlines() == [
        f"command line: [executor] retry_statuses #{number}: {expected}" for number in (1, 3)
    ]


def test_an_address_that_is_none_is_refused_among_trusted_proxies() -> None:
    assert refusal(environ={"JOBSTORE_SERVER__TRUSTED_PROXIES": "10.0.0.0/8, proxy"}) == (
        "JOBSTORE_SERVER__TRUSTED_PROXIES: expected a list of addresses or networks such as "
        '"127.0.0.1" or "10.0.0.0/8"'
    )


def test_a_password_in_a_url_is_not_repeated() -> None:
    assert "hunter2" not in refusal(overrides={"target": [{"upstream": "http://u:hunter2@h"}]})


# The file


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    file = tmp_path / "none.toml"
    assert refusal(file) == f"{file}: No such file or directory"


def test_a_directory_is_no_file(tmp_path: Path) -> None:
    assert refusal(tmp_path) == f"{tmp_path}: Is a directory"


def test_malformed_toml_is_told_with_its_line(write: Write) -> None:
    told = refusal(write("[server]\nport: 5"))
    assert told.startswith("jobs.toml: expected TOML: ")
    assert "line 2" in told


def test_a_file_in_another_encoding_is_told(write: Write) -> None:
    file = write("")
    file.write_bytes(b"# \xe4\xf6\xfc\n")
    assert refusal(file).startswith("jobs.toml: expected TOML: 'utf-8'")


def test_a_byte_order_mark_does_no_harm(write: Write) -> None:
    file = write("")
    file.write_bytes(b"\xef\xbb\xbf[server]\nport = 5\n")
    assert load(file, environ={}).server.port == 5


# How values are written


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("500ms", 0.5),
        ("30s", 30),
        ("15m", 15 * MINUTE),
        ("24h", DAY),
        ("30d", 30 * DAY),
        ("1.5h", 90 * MINUTE),
        (" 2 h ", 2 * HOUR),
        ("45", 45),
        (45, 45),
        (0.25, 0.25),
        ("0s", 0),
    ],
)
def test_a_duration_is_seconds_or_a_number_with_a_unit(written: object, seconds: float) -> None:
    assert from_flags(executor={"drain": written}).executor.drain == seconds


@pytest.mark.parametrize(
    "written", ["", "s", "30 sec", "1h30m", "-1s", "1,5h", "2w", "never", "inf", "nan", "40000d"]
)
def test_other_durations_are_refused(written: str) -> None:
    assert refused_flag("executor", "drain", written) == (
        "command line: [executor] drain: expected a duration such as 500ms, 30s, 15m, 24h or 30d"
    )


@pytest.mark.parametrize(
    ("section", "key"),
    [
        ("executor", "timeout"),
        ("retention", "unfetched"),
        ("retention", "fetched"),
        ("retention", "history"),
    ],
)
def test_never_is_a_timeout_and_a_retention_age(section: str, key: str) -> None:
    assert getattr(getattr(from_flags(**{section: {key: "never"}}), section), key) is None


@pytest.mark.parametrize(
    ("section", "key"),
    [("executor", "timeout"), ("retention", "unfetched"), ("retention", "interval")],
)
def test_no_time_at_all_is_refused_where_it_makes_no_sense(section: str, key: str) -> None:
    assert "above 0" in refused_flag(section, key, "0s")


def test_what_was_fetched_may_be_dropped_at_once() -> None:
    assert from_flags(retention={"fetched": 0}).retention.fetched == 0


@pytest.mark.parametrize(
    ("written", "size"),
    [
        ("1k", 1000),
        (65536, 65536),
        ("65536", 65536),
        ("256KiB", 256 * 1024),
        ("1MiB", 1024**2),
        ("1.5 GiB", 3 * 2**29),
        ("10MB", 10_000_000),
        ("0", 0),
    ],
)
def test_a_size_is_bytes_or_a_number_with_a_unit(written: object, size: int) -> None:
    assert from_flags(store={"max_size": written}).store.max_size == size


@pytest.mark.parametrize(
    "written", ["", "MiB", "-1MiB", "1.5.5", "1MiB!", "1 MiB 5", "1XB", "inf", "9EiB", "9" * 5000]
)
def test_other_sizes_are_refused(written: str) -> None:
    assert refused_flag("store", "max_size", written) == (
        "command line: [store] max_size: "
        "expected a size such as 262144, 256KiB or 1GiB, or 0 for no limit"
    )


def test_bodies_in_a_row_cannot_be_huge() -> None:
    assert "at most 64MiB" in refused_flag("store", "inline_limit", "1GiB")


def test_a_body_limit_lets_something_through() -> None:
    assert "above 0" in refused_flag("capture", "body_limit", 0)


def test_a_relative_path_of_the_store_is_kept_as_it_was_given() -> None:
    assert from_flags(store={"path": "some/../jobs.db"}).store.path == Path("some/../jobs.db")


def test_the_server_may_take_any_free_port() -> None:
    assert from_flags(server={"port": 0}).server.port == 0


@pytest.mark.parametrize("port", [-1, 65536, "http", 80.5])
def test_other_ports_are_refused(port: object) -> None:
    assert "from 0 to 65535" in refused_flag("server", "port", port)


# Targets


def test_without_a_target_the_demo_answers() -> None:
    (target,) = Config().targets
    assert (target.prefix, target.upstream, target.app) == ("/", None, "jobstore.demo:create_app")


def test_a_target_has_the_executors_limits_unless_it_has_its_own(write: Write) -> None:
    file = write("""
        [executor]
        concurrency = 4
        timeout = "5m"
        replay = "never"
        [[target]]
        app = "a:a"
        [[target]]
        prefix = "/b"
        upstream = "http://b"
        concurrency = 32
        timeout = "never"
        replay = "always"
    """)
    first, second = load(file, environ={}).targets
    assert (first.concurrency, first.timeout, first.replay) == (4, 300, Replay.NEVER)
    assert (second.concurrency, second.timeout, second.replay) == (32, None, Replay.ALWAYS)


def test_the_demo_has_the_executors_limits_too() -> None:
    assert from_flags(executor={"timeout": 5}).targets[0].timeout == 5


def test_a_flag_replaces_all_targets(write: Write) -> None:
    file = write('[[target]]\nprefix = "/a"\napp = "a:a"\n[[target]]\napp = "b:b"')
    (target,) = load(file, {"target": [{"upstream": "http://c"}]}, {}).targets
    assert (target.prefix, target.upstream, target.app) == ("/", "http://c", None)


@pytest.mark.parametrize(
    ("target", "keeps", "cut"),
    [
        ({}, True, ""),
        ({"preserve_host": "auto"}, True, ""),
        ({"preserve_host": False, "strip_prefix": True}, False, ""),
        ({"prefix": "/a"}, False, ""),
        ({"prefix": "/a", "preserve_host": "yes", "strip_prefix": True}, True, "/a"),
    ],
)
def test_how_a_service_is_asked_is_its_own_affair(
    target: dict[str, object], *, keeps: bool, cut: str
) -> None:
    (read,) = from_flags(target=[{"upstream": "http://a", **target}]).targets
    assert (read.keeps_host, read.cut) == (keeps, cut)


@pytest.mark.parametrize(
    ("sections", "complaint"),
    [
        (
            {"target": [{"upstream": "http://a", "preserve_host": "perhaps"}]},
            '[[target]] #1 preserve_host: expected "auto", or true or false',
        ),
        (
            {"target": [{"upstream": "http://a", "strip_prefix": "auto"}]},
            "[[target]] #1 strip_prefix: expected true or false",
        ),
        (
            {"target": [{"app": "a:a", "preserve_host": True}]},
            "[[target]] #1: expected preserve_host only with an upstream",
        ),
        ({"target": [{"upstream": "http://a", "keep_host": True}]}, "no such key; did you mean "),
        ({"server": {"protect": "none"}}, '[server] protect: expected "all" or "jobs"'),
        ({"capture": {"response_limit": 0}}, "[capture] response_limit: expected a size such as"),
        ({"capture": {"response_limit": "much"}}, "[capture] response_limit: expected a size"),
    ],
)
def test_what_a_sidecar_is_told_has_to_be_understood(
    sections: dict[str, Any], complaint: str
) -> None:
    assert complaint in refusal(overrides=sections)


@pytest.mark.parametrize(
    "upstream",
    ["unix:", "unix:app.sock", "unix:/", "unix:/run/", "unix:///" + "x" * 120, "unix:/a\nb"],
)
def test_a_socket_of_this_machine_is_named_by_its_whole_path(upstream: str) -> None:
    assert "or unix:/PATH/OF/SOCKET" in refusal(overrides={"target": [{"upstream": upstream}]})


@pytest.mark.parametrize("both", [{}, {"upstream": "http://a", "app": "a:a"}])
def test_a_target_is_either_upstream_or_in_process(both: dict[str, str]) -> None:
    assert refusal(overrides={"target": [both]}) == (
        "command line: [[target]] #1: expected either upstream or app, and not both"
    )


def test_two_targets_have_different_prefixes() -> None:
    targets = [{"prefix": prefix, "app": "a:a"} for prefix in ("/x", "/y", "/x/")]
    assert refusal(overrides={"target": targets}) == (
        "command line: [[target]]: expected a different prefix for each target"
    )


@pytest.mark.parametrize(
    ("written", "prefix"), [("/", "/"), ("/x", "/x"), ("/x/", "/x"), ("/x/y//", "/x/y")]
)
def test_the_last_slash_of_a_prefix_does_not_matter(written: str, prefix: str) -> None:
    assert from_flags(target=[{"app": "a:a", "prefix": written}]).targets[0].prefix == prefix


@pytest.mark.parametrize("prefix", ["", "x", "/x?y", "/x#y", "/x y"])
def test_other_prefixes_are_refused(prefix: str) -> None:
    assert "[[target]] #1 prefix: expected a path that begins with /" in refusal(
        overrides={"target": [{"app": "a:a", "prefix": prefix}]}
    )


@pytest.mark.parametrize(
    ("written", "upstream"),
    [
        ("http://127.0.0.1:9000", "http://127.0.0.1:9000"),
        ("http://my_app:9000/", "http://my_app:9000"),
        ("https://Example.org/base/", "https://example.org/base"),
        ("http://[::1]:9000", "http://[::1]:9000"),
    ],
)
def test_an_upstream_is_a_url_that_paths_are_appended_to(written: str, upstream: str) -> None:
    assert from_flags(target=[{"upstream": written}]).targets[0].upstream == upstream


@pytest.mark.parametrize(
    "upstream",
    [
        "",
        "localhost:9000",
        "ftp://h",
        "http://",
        "http://h:99999",
        "http://h h",
        "http://192.168.1.300",
        "http://h/?",
        "http://h/?q=1",
        "http://h/#f",
        "http://user@h",
        "http://user:secret@h",
    ],
)
def test_other_upstreams_are_refused(upstream: str) -> None:
    assert "[[target]] #1 upstream: expected an http:// or https:// URL" in refusal(
        overrides={"target": [{"upstream": upstream}]}
    )


@pytest.mark.parametrize("app", ["", "web", "web:", ":create_app", "web:create app", "a:b:c"])
def test_an_application_is_a_module_and_a_factory(app: str) -> None:
    assert "[[target]] #1 app: expected MODULE:FACTORY" in refusal(
        overrides={"target": [{"app": app}]}
    )


# Addresses


def test_several_addresses_stand_in_the_place_of_host_and_port(write: Write) -> None:
    file = write('[server]\nlisten = ["127.0.0.1:80", "unix:/run/jobs.sock"]')
    server = load(file, environ={}).server
    assert [str(each) for each in server.addresses] == ["127.0.0.1:80", "unix:/run/jobs.sock"]
    assert server.names == ("127.0.0.1",)
    assert [str(each) for each in from_flags(server={"host": "::1"}).server.addresses] == [
        "[::1]:8529"
    ]
    by_environment = from_env(SERVER__LISTEN="127.0.0.1:80, unix:/run/jobs.sock").server
    assert by_environment.addresses == server.addresses


def test_a_layer_that_names_a_port_takes_away_the_addresses_of_those_below_and_back(
    write: Write,
) -> None:
    file = write('[server]\nlisten = ["127.0.0.1:80"]\nkeep_alive = "5s"')
    server = load(file, {"server": {"port": 3}}, {}).server
    assert ([str(each) for each in server.addresses], server.keep_alive) == (["127.0.0.1:3"], 5)
    file = write('[server]\nhost = "::1"\nport = 80')
    server = load(file, environ={"JOBSTORE_SERVER__LISTEN": "127.0.0.1:5"}).server
    assert [str(each) for each in server.addresses] == ["127.0.0.1:5"]


def test_both_in_one_layer_and_a_key_without_a_certificate_are_refused(write: Write) -> None:
    file = write('[server]\nlisten = ["127.0.0.1:80"]\nport = 81')
    assert refusal(file).endswith("[server]: expected listen, or else host and port, and not both")
    assert refusal(write('[server]\ntls_key = "key.pem"')).endswith(
        "[server]: expected a tls_certificate for the tls_key"
    )
    assert "#2: expected a list of addresses such as" in refusal(
        overrides={"admin": {"listen": ["127.0.0.1:80", "80"]}}
    )


def test_checkpoints_are_the_servers_own_or_those_of_somebody_else_and_no_databases() -> None:
    assert from_flags(store={"checkpoints": "external"}).store.external
    assert not from_flags().store.external
    assert 'expected "self" or "external"' in refused_flag("store", "checkpoints", "never")
    assert "expected no checkpoints with a url" in refusal(
        overrides={"store": {"url": "postgresql://db/jobs", "checkpoints": "external"}}
    )


# Credentials


def test_a_credential_is_read_from_the_folder_that_systemd_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    (tmp_path / "database-url").write_text("postgresql://jobs:secret@db/jobs\n")
    config = from_flags(
        store={"url": "credential:database-url"},
        server={"tls_certificate": "a.pem", "tls_key": "credential:tls-key"},
    )
    assert config.store.url == "postgresql://jobs:secret@db/jobs"
    assert (config.server.tls_certificate, config.server.tls_key) == (
        Path("a.pem"),
        tmp_path / "tls-key",
    )


@pytest.mark.parametrize(
    ("written", "sentence"),
    [
        ("credential:missing", "/missing: No such file or directory"),
        ("credential:", "expected credential: and a name"),
        ("credential:../etc/passwd", "expected credential: and a name"),
        ("credential:wrong", "expected the URL of a database"),
    ],
)
def test_a_credential_that_is_none_is_refused_in_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: str, sentence: str
) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    (tmp_path / "wrong").write_text("mysql://db")
    told = refused_flag("store", "url", written)
    assert (told.startswith("command line: [store] url: "), sentence in told) == (True, True)
    assert "mysql" not in told


def test_without_a_folder_of_credentials_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    assert "there are no credentials: expected LoadCredential=" in refused_flag(
        "server", "tls_key", "credential:tls-key"
    )


# The example


def uncommented() -> dict[str, Any]:
    """Read the example with its commented tables taken in, and ``app`` in another one."""
    return tomllib.loads(re.sub(r"(?m)^# (?=\[\[target\]\]|[a-z_]+ = )", "", EXAMPLE.read_text()))


def test_the_example_says_the_defaults() -> None:
    assert load(EXAMPLE, environ={}) == Config()


def test_the_example_has_every_key() -> None:
    example = uncommented()
    example["target"] = {key: None for target in example["target"] for key in target}
    assert sorted((name, key) for name in example for key in example[name]) == sorted(every_key())


def test_the_example_explains_every_key() -> None:
    keys = re.findall(r"(?m)^(?:# )?[a-z_]+ = .*$", EXAMPLE.read_text())
    assert [line for line in keys if not re.search(r"\S  # \S", line)] == []


def test_the_examples_targets_can_be_taken_as_they_are(write: Write) -> None:
    file = write(re.sub(r"(?m)^# (?=\[\[target\]\]|[a-z_]+ = )", "", EXAMPLE.read_text()))
    first, second = load(file, environ={}).targets
    assert (first.upstream, second.app) == ("http://127.0.0.1:9000", "mypackage.web:create_app")
