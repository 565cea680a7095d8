"""`doctor`: what it looks at, what it says about it, and that it says nothing of the key."""

from __future__ import annotations

import os
import socket
import ssl
import subprocess
import threading
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import trustme

from dashscope_ft_async.cli import options as access
from dashscope_ft_async.cli.doctor import command as doctor
from dashscope_ft_async.cli.doctor.checks import Verdict, of_clock, of_trouble
from dashscope_ft_async.cli.views import Terminals
from dashscope_ft_async.testing import Fault, Simulator
from tests.conftest import KEY
from tests.support.adversary import Adversary, Answer, then_closed, then_silent, whole
from tests.support.cli_service import Json, Service, elsewhere, lines_of, process_of, run

NAMES = ["versions", "key", "host", "workspace", "settings", "dns", "tcp", "tls", "http", "clock", "access"]
NOW = datetime(2026, 1, 5, 10, 0, 0, tzinfo=UTC)


pytestmark = pytest.mark.usefixtures("quick_client")


@pytest.fixture
def on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access, "terminals", lambda: Terminals(stdout=True, stderr=True))


def examined(*args: str, code: int = 0) -> dict[str, Json]:
    result = run("doctor", *args)
    lines = lines_of(result.stdout)
    assert [line["name"] for line in lines] == NAMES
    assert (result.exit_code, result.stderr) == (code, "")
    return {line["name"]: line for line in lines}


def verdicts(checks: dict[str, Json]) -> dict[str, str]:
    return {name: line["verdict"] for name, line in checks.items() if line["verdict"] != "ok"}


def after(name: str, because: str) -> dict[str, str]:
    later = NAMES[NAMES.index(name) + 1 :]
    return {name: "failed", **dict.fromkeys(later, "skipped")} | ({"tls": because} if because else {})


# --- all is well ------------------------------------------------------------------------------------


def test_all_is_well(server: Service) -> None:
    for _ in range(3):
        server.add_job([(0, "RUNNING")])
    checks = examined("--base-url", server.url, "--workspace", "llm-1")
    assert verdicts(checks) == {"tls": "skipped"}
    assert checks["key"]["text"] == "from DASHSCOPE_API_KEY"
    assert checks["host"]["text"] == f"{server.url} (--base-url)"
    assert checks["workspace"]["text"] == "llm-1 (--workspace)"
    assert checks["access"]["text"] == "the key is accepted; jobs: 3"
    assert all(checks[name]["seconds"] >= 0 for name in ("dns", "tcp", "http", "access"))
    assert "aiohttp" in checks["versions"]["text"]


def test_the_key_goes_out_once_and_by_the_client(server: Service) -> None:
    examined("--base-url", server.url)
    assert [(seen.method, seen.status) for seen in server.simulator.requests] == [
        ("HEAD", 401),
        ("GET", 200),
    ]


@pytest.mark.usefixtures("on_a_terminal")
def test_on_a_terminal_a_line_each_and_a_tally(server: Service) -> None:
    result = run("doctor", "--base-url", server.url)
    first = [line.split()[:2] for line in result.stdout.splitlines() if not line.startswith(" ")]
    assert first == [["skipped" if name == "tls" else "ok", name] for name in NAMES]
    assert "ms)" in result.stdout
    assert result.stderr == "10 ok, 1 skipped\n"


@pytest.mark.usefixtures("on_a_terminal")
def test_on_a_terminal_the_advice_stands_below(monkeypatch: pytest.MonkeyPatch, server: Service) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://user:password@proxy.example")
    monkeypatch.setenv("DASHSCOPE_API_KEY", "sk-wrong-and-secret")
    result = run("doctor", "--base-url", server.url)
    assert "→ Only a program can use a proxy" in result.stdout
    assert "try --region cn-beijing" in " ".join(result.stdout.split())
    assert result.stderr == "8 ok, 1 warning, 1 failed, 1 skipped\n"


# --- settings ---------------------------------------------------------------------------------------


def write_key_file(mode: int) -> Path:
    path = Path.home() / ".dashscope" / "api_key"
    path.parent.mkdir()
    path.write_text(KEY)
    path.chmod(mode)
    return path


@pytest.mark.parametrize(("mode", "verdict"), [(0o600, "ok"), (0o640, "warning"), (0o604, "warning")])
def test_a_key_file_that_others_can_read_is_a_warning(
    mode: int, verdict: str, server: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DASHSCOPE_API_KEY")
    path = write_key_file(mode)
    key = examined("--base-url", server.url)["key"]
    assert key["verdict"] == verdict
    assert str(path) in key["text"]
    assert key["advice"] == (None if verdict == "ok" else f"chmod 600 {path}")


@pytest.mark.parametrize(
    ("key", "said"), [("sk-sp-0123456789", "Coding Plan"), ('"sk-0123456789"', "quotes")]
)
def test_a_key_of_another_shape_is_a_warning(key: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DASHSCOPE_API_KEY", key)
    with elsewhere(Simulator()) as service:
        check = examined("--base-url", service.base_url)["key"]
    assert check["verdict"] == "warning"
    assert said in check["text"] + check["advice"]


def test_without_a_key_the_way_is_looked_at_all_the_same(
    server: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DASHSCOPE_API_KEY")
    checks = examined("--base-url", server.url, code=2)
    assert verdicts(checks) == {"key": "failed", "tls": "skipped", "access": "skipped"}
    assert "DASHSCOPE_API_KEY" in checks["key"]["text"]
    assert checks["access"]["text"] == "key failed"


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--region", "atlantis"], "unknown region 'atlantis'"),
        (["--base-url", "https://u:hush@h"], "credentials"),
        (["--base-url", "http://far.example"], "in the clear"),
        (["--base-url", "https://h", "--region", "cn-beijing"], "not both"),
    ],
)
def test_a_host_that_cannot_be_is_told(args: list[str], said: str) -> None:
    checks = examined(*args, code=2)
    assert verdicts(checks) == after("host", "")
    assert said in checks["host"]["text"]


def test_the_region_names_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    monkeypatch.setenv("DASHSCOPE_API_REGION", "cn-beijing")
    checks = examined(code=6)
    assert checks["host"]["text"] == (
        "https://dashscope.aliyuncs.com/api/v1, region cn-beijing (DASHSCOPE_API_REGION)"
    )
    assert "(--region)" in examined("--region", "us-east-1", code=6)["host"]["text"]
    monkeypatch.delenv("DASHSCOPE_API_REGION")
    assert "ap-southeast-1 (default)" in examined(code=6)["host"]["text"]


@pytest.mark.parametrize(
    ("env", "said"),
    [
        (
            {"DASHSCOPE_HTTP_BASE_URL": "https://b"},
            "DASHSCOPE_HTTP_BASE_URL is not used, DASHSCOPE_BASE_URL",
        ),
        ({"DASHSCOPE_REGION": "cn-beijing"}, "DASHSCOPE_REGION is not used, DASHSCOPE_BASE_URL names"),
        ({"DASHSCOPE_WORKSPACE": "a", "DASHSCOPE_WORKSPACE_ID": "b"}, "DASHSCOPE_WORKSPACE_ID is not used"),
        ({"DASHSCOPE_API_KEY_FILE_PATH": "/f"}, "DASHSCOPE_API_KEY_FILE_PATH is not used"),
        ({"ALL_PROXY": "socks5://u:hush@p"}, "ALL_PROXY is not read"),
        ({"http_proxy": "http://u:hush@p"}, "http_proxy is not read"),
    ],
)
def test_settings_that_are_not_used_are_told(
    env: dict[str, str], said: str, server: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"DASHSCOPE_BASE_URL": server.url, **env}.items():
        monkeypatch.setenv(name, value)
    check = examined()["settings"]
    assert check["verdict"] == "warning"
    assert said in check["text"]
    assert "hush" not in str(check)


@pytest.mark.parametrize(
    "env",
    [
        {"DASHSCOPE_WORKSPACE": "a", "DASHSCOPE_WORKSPACE_ID": "a"},
        {"https_proxy": "http://p"},  # the base URL is plain http
        {"DASHSCOPE_REGION": "cn-beijing"},  # the option is meant
    ],
)
def test_settings_that_do_no_harm_are_no_warning(
    env: dict[str, str], server: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    assert examined("--base-url", server.url)["settings"]["verdict"] == "ok"


# --- the way to the service -------------------------------------------------------------------------


def unknown(*_: object, **__: object) -> Any:
    raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")


def test_a_name_without_an_address_is_unreachable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    checks = examined("--base-url", "https://nowhere.example", code=6)
    assert verdicts(checks) == after("dns", "")
    assert checks["dns"]["text"] == "nowhere.example has no address: Name or service not known"
    assert checks["access"]["text"] == "dns failed"


def test_name_servers_that_do_not_answer_are_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    asleep = threading.Event()

    def slow(*_: object, **__: object) -> None:
        asleep.wait(30)
        unknown()

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    checks = examined("--base-url", "https://slow.example", "--timeout", "0.1", code=4)
    asleep.set()
    assert verdicts(checks) == after("dns", "")


def test_a_port_where_nobody_listens_is_unreachable() -> None:
    checks = examined("--base-url", "http://127.0.0.1:1", code=6)
    assert verdicts(checks) == after("tcp", "")
    assert "Connect call failed" in checks["tcp"]["text"]


@pytest.mark.parametrize("answer", [then_closed(b""), then_closed(b"SSH-2.0-x\r\n\r\n")])
def test_what_speaks_no_http_is_unreachable(answer: Answer) -> None:
    with elsewhere(Adversary(answer)) as server:
        checks = examined("--base-url", server.base_url, code=6)
    assert verdicts(checks) == after("http", "") | {"tls": "skipped"}


def test_a_server_that_says_nothing_is_unreachable_or_out_of_time(monkeypatch: pytest.MonkeyPatch) -> None:
    with elsewhere(Adversary(then_silent())) as server:
        late = examined("--base-url", server.base_url, "--timeout", "0.5", code=4)["http"]
        monkeypatch.setattr(doctor, "_STEP", 0.3)
        silent = examined("--base-url", server.base_url, code=6)["http"]
    assert late["verdict"] == silent["verdict"] == "failed"
    assert silent["text"] == "no answer within 0.3 s"


class Ground:
    """A CA, and servers with certificates of it."""

    def __init__(self, path: Path) -> None:
        self.ca: Any = trustme.CA()  # its types name a library that is not installed
        self.bundle = path / "ca.pem"
        self.ca.cert_pem.write_to_path(str(self.bundle))

    def serving(
        self, host: str = "127.0.0.1", /, **validity: datetime
    ) -> AbstractContextManager[Adversary]:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.ca.issue_cert(host, **validity).configure_cert(context)
        page = b'{"request_id": "r", "output": {"jobs": [], "total": 0}}'
        return elsewhere(Adversary(whole(page, date="Mon, 05 Jan 2026 10:00:00 GMT"), tls=context))


@pytest.fixture
def ground(tmp_path: Path) -> Ground:
    return Ground(tmp_path)


@pytest.fixture
def trusted(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> Ground:
    """The machine trusts the CA; without a key, since aiohttp has read its trust when it was imported."""
    monkeypatch.setenv("SSL_CERT_FILE", str(ground.bundle))
    monkeypatch.delenv("DASHSCOPE_API_KEY")
    return ground


def https(server: Adversary) -> list[str]:
    return ["--base-url", f"https://127.0.0.1:{server.port}"]


def test_a_private_ca_in_ssl_cert_file_is_trusted_by_doctor_and_client_alike(ground: Ground) -> None:
    with ground.serving() as server:
        done = subprocess.run(
            process_of("doctor", *https(server)),
            capture_output=True, text=True, timeout=20, check=False,
            env={**os.environ, "SSL_CERT_FILE": str(ground.bundle)},
        )  # fmt: skip
    checks = {line["name"]: line for line in lines_of(done.stdout)}
    assert (done.returncode, done.stderr) == (0, "")
    assert verdicts(checks) == {"clock": "warning"}
    assert "TLSv1.3, certificate for 127.0.0.1 by trustme" in checks["tls"]["text"]
    assert checks["access"]["text"] == "the key is accepted; jobs: 0"
    assert "Set it" in checks["clock"]["advice"]


def test_a_certificate_of_nobody_known_is_refused_as_the_client_would(ground: Ground) -> None:
    with ground.serving() as server:
        checks = examined(*https(server), code=6)
        assert server.heads == []
    assert verdicts(checks) == after("tls", "failed")
    assert "SSL_CERT_FILE" in checks["tls"]["advice"]


@pytest.mark.parametrize(
    ("validity", "said"),
    [
        ({"not_after": datetime(2020, 1, 1, tzinfo=UTC)}, "expired"),
        ({"not_before": datetime(2120, 1, 1, tzinfo=UTC)}, "not yet valid"),
    ],
)
def test_a_certificate_out_of_its_time_may_be_a_wrong_clock(
    validity: dict[str, datetime], said: str, trusted: Ground
) -> None:
    with trusted.serving(**validity) as server:
        check = examined(*https(server), code=2)["tls"]
    assert said in check["text"]
    assert "The clock of this machine says" in check["advice"]


def test_a_certificate_that_expires_soon_is_a_warning(trusted: Ground) -> None:
    with trusted.serving(not_after=datetime.now(UTC) + timedelta(days=2)) as server:
        check = examined(*https(server), code=2)["tls"]
    assert (check["verdict"], check["advice"]) == ("warning", "Whoever runs this host must renew it.")


def test_a_certificate_of_another_host_is_told(trusted: Ground) -> None:
    with trusted.serving("other.example") as server:
        check = examined(*https(server), code=2)["tls"]
    assert check["exit_code"] == 6
    assert "What answers is not 127.0.0.1" in check["advice"]


def test_a_certificate_that_is_wrong_otherwise_is_told_in_openssls_words() -> None:
    error = ssl.SSLCertVerificationError()
    error.verify_code, error.verify_message = 23, "certificate revoked"
    check = of_trouble("tls", error, "h", NOW)
    assert (check.text, check.exit) == ("certificate revoked", 6)


def test_a_port_that_speaks_no_tls_is_told(server: Service) -> None:
    check = examined("--base-url", server.url.replace("http:", "https:"), code=6)["tls"]
    assert check["verdict"] == "failed"
    assert "scheme and port" in check["advice"]


# --- the clock --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("date", "took", "verdict", "said"),
    [
        (0, 0.2, "ok", "agrees"),
        (-1, 0.2, "ok", "agrees"),  # a date is in whole seconds
        (4, 5.0, "ok", "agrees"),  # on a slow way
        (30, 0.2, "ok", "30 s behind the server's"),
        (-31, 0.2, "ok", "30 s ahead of the server's"),
        (90, 0.2, "warning", "0:01:29 behind the server's"),
        (-86_401, 0.2, "warning", "1 day, 0:00:00 ahead of the server's"),
    ],
)
def test_the_clock_is_compared_as_far_as_can_be_told(
    date: float, took: float, verdict: str, said: str
) -> None:
    check = of_clock(NOW + timedelta(seconds=date), NOW, NOW + timedelta(seconds=took))
    assert check.verdict is Verdict(verdict)
    assert check.text.startswith(said)


@pytest.mark.parametrize("headers", [{}, {"date": "yesterday"}], ids=["none", "unreadable"])
def test_an_answer_without_a_date_tells_nothing_of_the_clock(headers: dict[str, str]) -> None:
    with elsewhere(Adversary(whole(b"{}", "401 Unauthorized", **headers))) as server:
        assert examined("--base-url", server.base_url, code=5)["clock"]["verdict"] == "skipped"


# --- the key, to the service ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "code", "said"),
    [
        (Fault.error(401, "InvalidApiKey", "Invalid API-key."), 5, "valid in one only): try --region"),
        (Fault.error(403, "AccessDenied", "no"), 5, "may use this workspace"),
        (Fault.error(404, "NotFound", "Not found!"), 5, "Fine-tuning is not offered there"),
        (Fault.error(404, "WorkSpaceNotFound", "no"), 5, "Check the workspace"),
        (Fault.error(503, "ModelUnavailable", "busy"), 6, "Try again later"),
        (Fault.html(200), 6, ""),
    ],
    ids=lambda value: str(value.status) if isinstance(value, Fault) else "",
)
def test_what_the_service_says_to_the_key_is_told(
    fault: Fault, code: int, said: str, server: Service
) -> None:
    server.simulator.fail_next(*[fault] * 9)
    check = examined("--base-url", server.url, code=code)["access"]
    assert (check["verdict"], check["exit_code"]) == ("failed", code)
    assert said in (check["advice"] or "")
    assert fault.status == 200 or "request id 00000000-0000-4000-8000-00000000eeee" in check["text"]


def test_of_the_regions_only_others_are_worth_a_try(
    server: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    def here(*_: object) -> str:
        return server.url

    monkeypatch.setattr("dashscope_ft_async._api.config._region_url", here)
    monkeypatch.setenv("DASHSCOPE_API_KEY", "sk-wrong-and-secret")
    advice = examined("--region", "cn-beijing", code=5)["access"]["advice"]
    assert "ap-southeast-1" in advice
    assert "cn-beijing" not in advice


def test_a_throttled_key_is_not_a_refused_one(server: Service) -> None:
    server.simulator.fail_next(*[Fault.error(429, "Throttling", "too fast")] * 9)
    check = examined("--base-url", server.url)["access"]
    assert check["verdict"] == "warning"
    assert check["advice"].startswith("The key was not refused.")


def test_an_answer_that_does_not_come_is_out_of_time(server: Service) -> None:
    server.simulator.fail_next(Fault.stall())
    check = examined("--base-url", server.url, "--timeout", "0.5", code=4)["access"]
    assert check["text"].startswith("no answer within")


# --- secrets ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "key",
    [
        "sk-0123456789HUSH",
        'no/"shape"+HUSH=all-9d1c7f',
        "HUSHHUSH",
        "sk-sp-HUSH-0123456",
        "sk-HUSH blank 12",
    ],
)
@pytest.mark.parametrize("terminal", [True, False], ids=["text", "json"])
def test_nothing_of_a_key_is_shown(
    key: str, terminal: bool, server: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(access, "terminals", lambda: Terminals(stdout=terminal, stderr=terminal))
    monkeypatch.setenv("COLUMNS", "999")
    monkeypatch.setenv("DASHSCOPE_API_KEY", key)
    monkeypatch.setenv("https_proxy", f"http://user:{key}@proxy")
    echo = Fault.error(401, "InvalidApiKey", f"Bearer {key} is wrong")
    for url in (server.url, f"{server.url}/{key}", f"https://user:{key}@host", f"https://host?k={key}"):
        for workspace in ("llm-1", key):
            server.simulator.fail_next(echo)
            result = run("doctor", "-v", "--base-url", url, "--workspace", workspace)
            assert "HUSH" not in result.output
            assert "DASHSCOPE_API_KEY" in result.output
