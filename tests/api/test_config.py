"""Where to ask and as whom."""

from __future__ import annotations

import copy
import pickle
import traceback
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from dashscope_ft_async._api.config import Secret, Settings, find_settings
from dashscope_ft_async._api.config import settings as settings_of
from dashscope_ft_async.errors import ConfigurationError

KEY = "sk-from-argument"
SINGAPORE = "https://dashscope-intl.aliyuncs.com/api/v1"


def settings(*, api_key: Any = None, **arguments: Any) -> Settings:
    return settings_of(api_key=None if api_key is None else Secret(api_key), **arguments)


def write_key_file(text: bytes) -> Path:
    path = Path.home() / ".dashscope" / "api_key"
    path.parent.mkdir()
    path.write_bytes(text)
    return path


def refusal(**arguments: Any) -> str:
    with pytest.raises(ConfigurationError) as caught:
        settings(**arguments)
    return str(caught.value)


# --- the key ------------------------------------------------------------------------------------------


def test_the_argument_comes_before_the_environment_and_the_key_file(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write_key_file(b"sk-from-file")
    monkeypatch.setenv("DASHSCOPE_API_KEY", "sk-from-env")

    assert settings(api_key=KEY).api_key.reveal() == KEY


def test_the_environment_comes_before_the_key_file(monkeypatch: pytest.MonkeyPatch) -> None:
    write_key_file(b"sk-from-file")
    monkeypatch.setenv("DASHSCOPE_API_KEY", "sk-from-env")

    assert settings().api_key.reveal() == "sk-from-env"


def test_the_official_sdks_key_file_comes_last(monkeypatch: pytest.MonkeyPatch) -> None:
    write_key_file(b"sk-from-file\n")
    monkeypatch.setenv("DASHSCOPE_API_KEY", "")

    assert settings().api_key.reveal() == "sk-from-file"


def test_the_environment_may_name_another_key_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    write_key_file(b"sk-from-home")
    other = tmp_path / "other"
    other.write_text("  sk-from-other\r\n")
    monkeypatch.setenv("DASHSCOPE_API_KEY_FILE_PATH", str(other))

    assert settings().api_key.reveal() == "sk-from-other"


@pytest.mark.parametrize("text", [b"", b" \n", b"\xff\xfe"], ids=["empty", "blank", "no text"])
def test_a_key_file_without_a_key_is_no_key(text: bytes) -> None:
    write_key_file(text)

    assert "no API key" in refusal()


def test_a_key_file_that_cannot_be_read_is_no_key() -> None:
    (Path.home() / ".dashscope" / "api_key").mkdir(parents=True)

    assert "no API key" in refusal()


def test_no_key_anywhere_says_where_one_may_be_given() -> None:
    told = refusal()

    for place in ("api_key=", "DASHSCOPE_API_KEY", "~/.dashscope/api_key"):
        assert place in told


def test_an_empty_argument_is_not_filled_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DASHSCOPE_API_KEY", "sk-from-env")

    assert "no API key" in refusal(api_key="")


BAD_HEADERS = [
    "sk-hush\n",
    "sk-hush\r\nX-Evil: 1",
    "sk hush",
    "sk-hush\x00",
    "sk-hush\x7f",
    "sk-hüsch",
    "sk-hush\t",
]


@pytest.mark.parametrize("name", ["api_key", "workspace"])
@pytest.mark.parametrize("value", BAD_HEADERS, ids=repr)
def test_a_header_with_odd_characters_is_refused_and_not_shown(name: str, value: str) -> None:
    arguments: dict[str, Any] = {"api_key": KEY, name: value}
    with pytest.raises(ConfigurationError) as caught:
        settings(**arguments)

    shown = "".join(traceback.format_exception(caught.value)) + repr(caught.value)
    assert name in shown
    assert "hush" not in str(caught.value) + repr(caught.value)
    assert "hüsch" not in str(caught.value) + repr(caught.value)


@pytest.mark.parametrize("name", ["api_key", "workspace"])
@pytest.mark.parametrize("value", [5, b"sk-hush", ["sk-hush"]], ids=repr)
def test_a_header_that_is_no_text_is_refused_and_not_shown(name: str, value: Any) -> None:
    told = refusal(**{"api_key": KEY, name: value})

    assert name in told
    assert "hush" not in told


def test_a_bad_key_in_the_environment_is_refused_and_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DASHSCOPE_API_KEY", "sk-hush\nX: 1")

    assert "hush" not in refusal()


# --- the workspace ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("argument", "environ", "expected"),
    [
        (None, {}, None),
        ("llm-a", {"DASHSCOPE_WORKSPACE": "llm-b"}, "llm-a"),
        (None, {"DASHSCOPE_WORKSPACE": "llm-b", "DASHSCOPE_WORKSPACE_ID": "llm-c"}, "llm-b"),
        (None, {"DASHSCOPE_WORKSPACE_ID": "llm-c"}, "llm-c"),
        (None, {"DASHSCOPE_WORKSPACE": "", "DASHSCOPE_WORKSPACE_ID": ""}, None),
    ],
)
def test_the_workspace_comes_from_the_argument_then_the_environment(
    argument: str | None, environ: dict[str, str], expected: str | None
) -> None:
    assert settings(api_key=KEY, workspace=argument, environ=environ).workspace == expected


# --- the URL ------------------------------------------------------------------------------------------

HOSTS = {
    "cn-beijing": "dashscope.aliyuncs.com",
    "ap-southeast-1": "dashscope-intl.aliyuncs.com",
    "us-east-1": "dashscope-us.aliyuncs.com",
    "cn-hongkong": "cn-hongkong.dashscope.aliyuncs.com",
    "eu-central-1": "llm-a1.eu-central-1.maas.aliyuncs.com",
    "ap-northeast-1": "llm-a1.ap-northeast-1.maas.aliyuncs.com",
}


@pytest.mark.parametrize("region", HOSTS)
def test_a_region_names_its_official_host(region: str) -> None:
    found = settings(api_key=KEY, region=region, workspace="llm-a1", environ={})

    assert found.base_url == f"https://{HOSTS[region]}/api/v1"
    assert found.host == HOSTS[region]


@pytest.mark.parametrize("region", ["eu-central-1", "ap-northeast-1"])
def test_a_region_without_a_shared_host_asks_for_a_workspace(region: str) -> None:
    assert "workspace=" in refusal(api_key=KEY, region=region)


@pytest.mark.parametrize(
    "workspace", ["evil.example/", "a.b", "evil.example:443/x", "a\\b", "a@b", "a?b", "a#b", "-"]
)
def test_a_workspace_cannot_make_another_host(workspace: str) -> None:
    refusal(api_key=KEY, region="eu-central-1", workspace=workspace)


@pytest.mark.parametrize("region", ["mars-1", "CN-BEIJING", "cn-beijing "])
def test_an_unknown_region_names_the_known_ones(region: str) -> None:
    told = refusal(api_key=KEY, region=region)

    assert repr(region) in told
    assert all(known in told for known in HOSTS)


@pytest.mark.parametrize(
    ("arguments", "environ", "host"),
    [
        ({}, {}, "dashscope-intl.aliyuncs.com"),
        (
            {},
            {"DASHSCOPE_REGION": "us-east-1", "DASHSCOPE_API_REGION": "cn-beijing"},
            "dashscope-us.aliyuncs.com",
        ),
        ({}, {"DASHSCOPE_API_REGION": "cn-beijing"}, "dashscope.aliyuncs.com"),
        ({}, {"DASHSCOPE_BASE_URL": "https://a", "DASHSCOPE_HTTP_BASE_URL": "https://b"}, "a"),
        ({}, {"DASHSCOPE_HTTP_BASE_URL": "https://b/api/v1"}, "b"),
        ({}, {"DASHSCOPE_BASE_URL": "https://a", "DASHSCOPE_REGION": "us-east-1"}, "a"),
        ({}, {"DASHSCOPE_BASE_URL": ""}, "dashscope-intl.aliyuncs.com"),
        ({"region": "cn-beijing"}, {"DASHSCOPE_BASE_URL": "https://a"}, "dashscope.aliyuncs.com"),
        ({"region": "cn-beijing"}, {"DASHSCOPE_REGION": "us-east-1"}, "dashscope.aliyuncs.com"),
        (
            {"base_url": "https://c"},
            {"DASHSCOPE_BASE_URL": "https://a", "DASHSCOPE_REGION": "us-east-1"},
            "c",
        ),
    ],
)
def test_the_host_comes_from_the_arguments_then_the_environment(
    arguments: dict[str, Any], environ: dict[str, str], host: str
) -> None:
    assert settings(api_key=KEY, environ=environ, **arguments).host == host


def test_the_process_environment_is_read_when_none_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DASHSCOPE_BASE_URL", "https://from.env")

    assert settings(api_key=KEY).host == "from.env"


def test_a_base_url_and_a_region_are_a_contradiction() -> None:
    assert "not both" in refusal(api_key=KEY, base_url=SINGAPORE, region="cn-beijing")


@pytest.mark.parametrize(
    ("given", "used"),
    [
        (SINGAPORE, SINGAPORE),
        ("https://dashscope-intl.aliyuncs.com", SINGAPORE),
        ("https://dashscope-intl.aliyuncs.com/", SINGAPORE),
        ("https://dashscope-intl.aliyuncs.com/api/v1/", SINGAPORE),
        ("https://dashscope-intl.aliyuncs.com/api/v1//", SINGAPORE),
        ("https://dashscope-intl.aliyuncs.com//api/v1", SINGAPORE),
        ("HTTPS://dashscope-intl.aliyuncs.com", SINGAPORE),
        ("https://proxy.example/dashscope", "https://proxy.example/dashscope/api/v1"),
        ("https://proxy.example/dashscope/api/v1", "https://proxy.example/dashscope/api/v1"),
        ("https://proxy.example:8443/api/v1", "https://proxy.example:8443/api/v1"),
        ("http://127.0.0.1:8080/api/v1", "http://127.0.0.1:8080/api/v1"),
        ("http://127.8.9.10", "http://127.8.9.10/api/v1"),
        ("http://[::1]:8080", "http://[::1]:8080/api/v1"),
        ("http://[::ffff:127.0.0.1]:8080", "http://[::ffff:127.0.0.1]:8080/api/v1"),
        ("http://localhost:1", "http://localhost:1/api/v1"),
        ("http://LOCALHOST", "http://LOCALHOST/api/v1"),
    ],
)
def test_a_base_url_is_brought_to_one_form(given: str, used: str) -> None:
    assert settings(api_key=KEY, base_url=given).base_url == used


@pytest.mark.parametrize(
    "url",
    [
        "http://dashscope-intl.aliyuncs.com/api/v1",
        "http://127.0.0.1.evil.example",
        "http://localhost.evil.example",
        "http://0.0.0.0",
        "http://10.0.0.1",
        "http://[2001:db8::1]",
        "http://evil.example/127.0.0.1",
        "http://localhost.evil",
        "http://evil.localhost",
        "http://localhost.",
        "http://localhost%2eevil",
        "http://ip6-localhost",
        "http://127.1",
        "http://2130706433",
        "http://0x7f.0.0.1",
        "http://127.0.0.1。evil.example",
        "http://\uff4cocalhost",
        "http://[::]",
        "http://[::ffff:10.0.0.1]",
        "http://[::127.0.0.1]",
    ],
)
def test_plain_http_beyond_this_machine_is_refused_unless_meant(url: str) -> None:
    assert "in the clear" in refusal(api_key=KEY, base_url=url)
    assert settings(api_key=KEY, base_url=url, allow_insecure_http=True).base_url.startswith("http://")


@pytest.mark.parametrize(
    "url",
    [
        "https://user:sk-hush@host/api/v1",
        "https://sk-hush@host",
        "http://localhost@evil.example/sk-hush",
        "http://evil.example@localhost/sk-hush",
        "http://127.0.0.1:80@evil.example/sk-hush",
        "https://host/api/v1?key=sk-hush",
        "https://host/api/v1#sk-hush",
        "https://host?",
        "https://host#",
        "",
        "sk-hush",
        "dashscope-intl.aliyuncs.com/api/v1",
        "//host/sk-hush",
        "ftp://host/sk-hush",
        "file:///sk-hush",
        "https://",
        "https:///sk-hush",
        "https://host:0/sk-hush",
        "https://host:99999/sk-hush",
        "https://host:port/sk-hush",
        "https://[::1/sk-hush",
        "https://host\\@evil.example/sk-hush",
        "https://host\\evil.example",
        "https://ho st/sk-hush",
        "https://host/sk-hush\n",
        "https://host/\x00sk-hush",
        " https://host",
        5,
        b"https://host/sk-hush",
    ],
    ids=repr,
)
def test_a_base_url_that_is_none_is_refused_and_not_shown(url: Any) -> None:
    told = refusal(api_key=KEY, base_url=url, allow_insecure_http=True)

    assert "base_url" in told
    assert "hush" not in told


PIECES = (
    "https:// http:// // / @ : ? # \\ %2f .. ; [ ] [::1] 127.0.0.1 localhost evil.example :80 :99999 "
    "/api/v1 api xn-- 0x7f.1 \u2100 \uff0f \xad \u00e9 \u3002"
)
pieces = st.lists(st.sampled_from([*PIECES.split(" "), " ", "\t"]), max_size=7).map("".join)


@given(pieces | st.text(max_size=40) | st.text(max_size=30).map("https://a.example/{}".format))
def test_any_text_is_refused_or_a_base_url_on_its_own_host(text: str) -> None:
    try:
        used = settings(api_key=KEY, base_url=text)
    except ConfigurationError:
        return
    sent = URL(used.base_url + "/fine-tunes/ft-1")
    # What is sent goes to the host that the text names, and a path cannot lead out of it.
    host = sent.raw_host
    assert host
    assert host == URL(text).raw_host
    assert sent.scheme in ("http", "https")
    assert sent.scheme == "https" or host in ("localhost", "::1") or host.startswith("127.")
    assert (sent.user, sent.password, sent.query_string, sent.fragment) == (None, None, "", "")
    assert sent.raw_path.endswith("/fine-tunes/ft-1")


# --- the secret ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("shown", [repr, str, "{}".format, "{!r:>30}".format])
def test_a_secret_does_not_show_itself(shown: Any) -> None:
    found = settings(api_key=KEY)

    assert KEY not in shown(found.api_key)
    assert KEY not in shown(found)


@pytest.mark.parametrize("copied", [pickle.dumps, copy.copy, copy.deepcopy])
def test_a_secret_leaves_the_process_by_no_copy(copied: Any) -> None:
    with pytest.raises(TypeError, match="cannot be pickled") as caught:
        copied(settings(api_key=KEY).api_key)

    assert KEY not in str(caught.value)
    with pytest.raises(TypeError):
        pickle.dumps(settings(api_key=KEY))


def test_a_secret_is_told_on_request_only() -> None:
    assert Secret(KEY).reveal() == KEY
    assert not hasattr(Secret(KEY), "__dict__")


# --- where they came from -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "environ", "expected"),
    [
        (
            {},
            {},
            ("default", "ap-southeast-1"),
        ),
        (
            {"region": "cn-beijing"},
            {"DASHSCOPE_BASE_URL": "https://a"},
            ("argument", "cn-beijing"),
        ),
        (
            {},
            {"DASHSCOPE_API_REGION": "us-east-1"},
            ("variable DASHSCOPE_API_REGION", "us-east-1"),
        ),
        (
            {"base_url": "https://a"},
            {"DASHSCOPE_REGION": "us-east-1"},
            ("argument", None),
        ),
        (
            {},
            {"DASHSCOPE_HTTP_BASE_URL": "https://a", "DASHSCOPE_REGION": "us-east-1"},
            ("variable DASHSCOPE_HTTP_BASE_URL", None),
        ),
    ],
)
def test_settings_say_where_they_come_from(
    arguments: dict[str, Any],
    environ: dict[str, str],
    expected: tuple[str, str | None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in environ.items():
        monkeypatch.setenv(name, value)

    found = find_settings(**arguments)

    assert (found.base_url.source, found.region and found.region.value) == expected
    assert found.base_url.value == settings(api_key=KEY, environ=environ, **arguments).base_url


def test_the_key_says_where_it_comes_from_and_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_settings().api_key is None
    path = write_key_file(b"sk-from-file")

    found = [find_settings().api_key]
    monkeypatch.setenv("DASHSCOPE_API_KEY", "sk-from-env")
    found += [find_settings().api_key, find_settings(api_key=KEY).api_key]

    assert [each and each.source for each in found] == [
        f"file {path}",
        "variable DASHSCOPE_API_KEY",
        "argument",
    ]
    assert {each and each.value for each in found} == {"sk-***"}


@pytest.mark.parametrize(
    "text",
    [
        b"\xef\xbb\xbfsk-from-file\r\n",
        "sk-from-file\n".encode("utf-16"),
        b"\xfe\xff" + "sk-from-file".encode("utf-16-be"),
    ],
    ids=["UTF-8 with a mark", "UTF-16", "UTF-16, big-endian"],
)
def test_key_files_of_windows_editors_are_read(text: bytes) -> None:
    write_key_file(text)

    assert settings(environ={}).api_key.reveal() == "sk-from-file"


@pytest.mark.parametrize("end", ["\n", "\r\n"], ids=["unix", "windows"])
def test_values_of_the_environment_may_end_in_a_line_break(end: str) -> None:
    """As of ``$(cat file)`` on Windows, or of a mounted secret."""
    environ = {"DASHSCOPE_API_KEY": "sk-from-env", "DASHSCOPE_WORKSPACE": "llm-a"}
    of_region = {**environ, "DASHSCOPE_REGION": "eu-central-1"}
    of_url = {**environ, "DASHSCOPE_BASE_URL": "https://a.example"}

    for plain in (of_region, of_url):
        found = settings(environ={name: f"{value}{end}" for name, value in plain.items()})
        same = settings(environ=plain)
        assert found.api_key.is_same(same.api_key)
        assert (found.base_url, found.workspace) == (same.base_url, same.workspace)
    written = write_key_file(b"sk-from-file")
    assert (
        settings(environ={"DASHSCOPE_API_KEY_FILE_PATH": f"{written}{end}"}).api_key.reveal()
        == "sk-from-file"
    )


def test_no_home_and_no_password_entry_is_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """It was a RuntimeError with a traceback, in containers."""

    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", no_home)

    assert "no API key" in refusal(environ={})
    assert find_settings().api_key is None


def test_the_id_of_an_access_key_is_no_api_key() -> None:
    assert "AccessKey" in refusal(environ={"DASHSCOPE_API_KEY": "LTAI5tExampleExample"})


@pytest.mark.parametrize(
    "path",
    [
        "/compatible-mode/v1", "/compatible-mode/v1/", "/api-openai/v1", "/api", "/api/v1", "/api/v1/",
        "/api/v1/fine-tunes", "/api/v1/fine-tunes/ft-202410291653-1c7f", "",
        "/compatible-mode", "/compatible-mode/v1/chat/completions", "/compatible-mode/v1/fine_tuning/jobs",
        "/api/v1/services/aigc/text-generation/generation", "/api/v1/fine-tunes/ft-1/logs", "/api/v1/files",
    ],
)  # fmt: skip
def test_urls_of_other_apis_of_the_host_are_translated(path: str) -> None:
    """They were polled for 15 minutes."""
    found = settings(api_key=KEY, environ={}, base_url=f"https://dashscope.aliyuncs.com{path}")

    assert found.base_url == "https://dashscope.aliyuncs.com/api/v1"


@pytest.mark.parametrize(
    ("region", "hint"),
    [("beijing", "did you mean cn-beijing"), ("Singapore", "known are"), ("us", "us-east-1")],
)
def test_an_unknown_region_is_refused_with_a_hint(region: str, hint: str) -> None:
    assert hint in refusal(environ={"DASHSCOPE_API_KEY": KEY, "DASHSCOPE_REGION": region})


def test_a_key_file_that_is_named_and_holds_none_is_told() -> None:
    told = refusal(environ={"DASHSCOPE_API_KEY_FILE_PATH": "/no/such/file"})

    assert "DASHSCOPE_API_KEY_FILE_PATH" in told


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DASHSCOPE_API_KEY", "sk hush"),
        ("DASHSCOPE_BASE_URL", "hush"),
        ("DASHSCOPE_HTTP_BASE_URL", "http://far.example"),
        ("DASHSCOPE_BASE_URL", "https://u:hush@far.example"),
        ("DASHSCOPE_REGION", "mars-1"),
        ("DASHSCOPE_API_REGION", "eu-central-1"),
        ("DASHSCOPE_WORKSPACE", "a hush"),
        ("DASHSCOPE_WORKSPACE_ID", "sk-hush-0123456789"),
    ],
)
def test_what_is_wrong_in_the_environment_is_named(name: str, value: str) -> None:
    told = refusal(environ={"DASHSCOPE_API_KEY": KEY, name: value})

    assert f"(from {name})" in told
    assert "hush" not in told
