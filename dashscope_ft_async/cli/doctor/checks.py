"""What the checks of `doctor` mean: pure. `probe` looks, and `doctor` tells."""

from __future__ import annotations

import shlex
import ssl
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from math import ceil, floor
from typing import Any

import attrs

from dashscope_ft_async import REGIONS, FoundSettings, Setting
from dashscope_ft_async.cli.exit_codes import ExitCode as Exit
from dashscope_ft_async.cli.exit_codes import exit_code_of as exit_of
from dashscope_ft_async.cli.messages import short_error as brief
from dashscope_ft_async.errors import (
    APIStatusError,
    AuthenticationError,
    ConfigurationError,
    DashScopeFTError,
    NotFoundError,
    RateLimitError,
)
from dashscope_ft_async.models import JobPage

_KEY_VARIABLES = ("DASHSCOPE_API_KEY", "DASHSCOPE_API_KEY_FILE_PATH")
_URL_VARIABLES = ("DASHSCOPE_BASE_URL", "DASHSCOPE_HTTP_BASE_URL")
_REGION_VARIABLES = ("DASHSCOPE_REGION", "DASHSCOPE_API_REGION")
_WORKSPACE_VARIABLES = ("DASHSCOPE_WORKSPACE", "DASHSCOPE_WORKSPACE_ID")
SKEW = 60.0
"""Seconds by which the clock may be wrong before it is worth a word."""
_EXPIRES_SOON = timedelta(days=7)
_READ_BY_OTHERS = 0o044
_EXPIRED, _NOT_YET_VALID, _OTHER_HOST = 10, 9, (62, 64)
"""OpenSSL's numbers for what is wrong with a certificate."""
_UNKNOWN_ISSUER = (2, 18, 19, 20, 21)
_PROXIES = {"https": ("https_proxy", "all_proxy"), "http": ("http_proxy", "all_proxy")}


class Verdict(StrEnum):
    """What came of a check."""

    OK = "ok"
    WARNING = "warning"
    """It works, and something is worth a look."""
    FAILED = "failed"
    SKIPPED = "skipped"
    """It made no sense, mostly after another one failed."""


@attrs.frozen
class Check:
    """What was looked at, and what came of it."""

    name: str
    verdict: Verdict
    text: str
    advice: str = ""
    """What to do about it."""
    exit: Exit = Exit.SUCCEEDED
    """The exit code that it alone would give."""
    seconds: float | None = None
    """How long it took, where that tells something."""


def skipped(name: str, because: str) -> Check:
    """A check that was not made."""
    return Check(name, Verdict.SKIPPED, because)


def failed(name: str, text: str, advice: str = "", exit: Exit = Exit.UNREACHABLE) -> Check:  # noqa: A002
    """A check that went wrong."""
    return Check(name, Verdict.FAILED, text, advice, exit)


def _judged(name: str, text: str, problems: Sequence[tuple[str, str]]) -> Check:
    """Well, but for `problems`: what is the matter, and what to do about it."""
    if not problems:
        return Check(name, Verdict.OK, text)
    told = "; ".join(part for part in (text, *(problem for problem, _ in problems)) if part)
    advice = " ".join(dict.fromkeys(advice for _, advice in problems))
    return Check(name, Verdict.WARNING, told, advice)


# --- settings ---------------------------------------------------------------------------------------


def of_key(key: Setting | ConfigurationError | None, mode: int) -> Check:
    """The API key; `mode` is that of the key file, 0 if there is none. No part of the key is shown."""
    if isinstance(key, ConfigurationError):
        return failed("key", str(key), exit=Exit.USAGE)
    if key is None:
        text = "no API key: set DASHSCOPE_API_KEY, or store it in ~/.dashscope/api_key"
        return failed("key", text, exit=Exit.USAGE)
    problems: list[tuple[str, str]] = []
    if key.value.startswith("sk-sp-"):
        problem = "it looks like a key of the Coding Plan"
        problems.append((problem, "Such a key works only on the Coding Plan's own host."))
    elif not key.value.startswith("sk-"):
        problem = "it does not look like a key of the service"
        problems.append((problem, "Look for quotes or missing characters where it is set."))
    if mode & _READ_BY_OTHERS:
        problems.append(("other users can read the file", f"chmod 600 {shlex.quote(_name(key))}"))
    return _judged("key", f"from {_name(key)}", problems)


def of_host(found: FoundSettings | ConfigurationError) -> Check:
    """The host that requests go to."""
    if isinstance(found, ConfigurationError):
        return failed("host", str(found), exit=Exit.USAGE)
    url, region = found.base_url, found.region
    if region is None:
        return _judged("host", f"{url.value} ({_name(url) or '--base-url'})", [])
    return _judged("host", f"{url.value}, region {region.value} ({_name(region) or '--region'})", [])


def of_workspace(found: FoundSettings) -> Check:
    """The workspace of the requests."""
    if found.workspace is None:
        return _judged("workspace", "not set: the key's default workspace", [])
    name = _name(found.workspace) or "--workspace"
    return _judged("workspace", f"{found.workspace.value} ({name})", [])


def _name(setting: Setting) -> str:
    """Name of the variable or file that a setting comes from; empty for an option."""
    return {"argument": ""}.get(setting.source, setting.source.partition(" ")[2] or setting.source)


def of_conflicts(found: FoundSettings, env: Mapping[str, str]) -> Check:
    """Settings that are set and not used."""
    url = _name(found.base_url)
    workspace = "" if found.workspace is None else _name(found.workspace)
    unused = [
        *_unused(url, _URL_VARIABLES, env),
        *_unused(url, _REGION_VARIABLES, env),
        *_unused(workspace, _WORKSPACE_VARIABLES, env),
        *_unused(_KEY_VARIABLES[0] if env.get(_KEY_VARIABLES[0]) else "", _KEY_VARIABLES, env),
    ]
    if url in _URL_VARIABLES:
        unused += [
            f"{name} is not used, {url} names the host" for name in _REGION_VARIABLES if env.get(name)
        ]
    ignored = _PROXIES[found.base_url.value.partition(":")[0]]
    unread = [f"{name} is not read" for name in sorted(env) if name.lower() in ignored and env[name]]
    problems = [(problem, "Unset what is not meant.") for problem in unused]
    problems += [
        (problem, "Only a program can use a proxy: FineTuneClient(proxy=…).") for problem in unread
    ]
    return _judged("settings", "" if problems else "no contradictions", problems)


def _unused(used: str, variables: Sequence[str], env: Mapping[str, str]) -> list[str]:
    """The ones among `variables` that say something else than the one that counts."""
    if used not in variables:
        return []
    return [
        f"{name} is not used, {used} comes first"
        for name in variables
        if env.get(name) not in (None, "", env[used])
    ]


# --- the way to the service -------------------------------------------------------------------------


def of_dns(host: str, addresses: Iterable[str]) -> Check:
    """Where a name leads."""
    known = list(dict.fromkeys(addresses))
    return Check("dns", Verdict.OK, f"{host} is {'an address' if host in known else ', '.join(known)}")


def of_certificate(host: str, version: str, certificate: Mapping[str, Any], now: datetime) -> Check:
    """A certificate that was verified, as the `ssl` module tells it."""
    until = datetime.fromtimestamp(ssl.cert_time_to_seconds(certificate["notAfter"]), UTC)
    names = dict(pair for part in certificate["issuer"] for pair in part)
    issuer = names.get("organizationName") or names.get("commonName") or "an unnamed issuer"
    text = f"{version}, certificate for {host} by {issuer}, valid until {until:%Y-%m-%d %H:%M} UTC"
    soon = until - now < _EXPIRES_SOON
    problem = ("it expires soon", "Whoever runs this host must renew it.")
    return _judged("tls", text, [problem] if soon else [])


def of_trouble(name: str, error: OSError, host: str, now: datetime) -> Check:
    """A step on the way that went wrong."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return failed("tls", error.verify_message, _about_certificate(error.verify_code, host, now))
    if isinstance(error, ssl.SSLError):
        text = error.reason or "the handshake failed"
        return failed("tls", text, "Does this port speak TLS? Check scheme and port of the base URL.")
    said = error.strerror or str(error) or type(error).__name__
    return failed(name, f"{host} has no address: {said}" if name == "dns" else said, _ADVICE[name])


_ADVICE = {
    "dns": "Check the host of the base URL, and the name servers of this machine.",
    "tcp": "Nothing listens there, or a firewall is between: check the base URL and the network.",
    "tls": "Something on the way breaks TLS: check the base URL, the network and the proxy.",
    "http": "Something answers that is no HTTP server: check the base URL and the network.",
}


def _about_certificate(code: int, host: str, now: datetime) -> str:
    if code in (_EXPIRED, _NOT_YET_VALID):
        return (
            f"The clock of this machine says {now:%Y-%m-%d %H:%M} UTC. Where that is wrong, set it; "
            f"where it is right, the certificate of {host} is to be renewed."
        )
    if code in _OTHER_HOST:
        return f"What answers is not {host}: check the base URL and the name servers."
    if code in _UNKNOWN_ISSUER:
        return (
            "Nobody whom this machine trusts has issued it. Where a proxy of your network looks into TLS, "
            "let SSL_CERT_FILE name a file with the certificate of its CA."
        )
    return "Check the base URL and the network."


def of_clock(date: datetime | None, began: datetime, ended: datetime) -> Check:
    """Our clock, against the `date` of an answer to a request that `began` and `ended` then.

    The date is of some moment in between, in whole seconds: what that leaves open is not held against us.
    """
    if date is None:
        return skipped("clock", "the answer has no date")
    ahead = (began - date).total_seconds() - 1.0
    behind = (date - ended).total_seconds()
    off = max(ahead, behind)
    if off <= 0:
        return Check("clock", Verdict.OK, "agrees with the server's")
    way = f"{_span(off)} {'ahead of' if ahead > behind else 'behind'} the server's"
    advice = "Set it: certificates and the deadlines of kept waits are judged by it."
    return _judged("clock", way, [("that is a lot", advice)] if off > SKEW else [])


def _span(seconds: float) -> str:
    return f"{ceil(seconds)} s" if seconds < SKEW else str(timedelta(seconds=floor(seconds)))


# --- the key, to the service ------------------------------------------------------------------------


def of_access(outcome: JobPage | DashScopeFTError, found: FoundSettings) -> Check:
    """What the service says to the key."""
    if isinstance(outcome, JobPage):
        total = "" if outcome.total is None else f"; jobs: {outcome.total}"
        return Check("access", Verdict.OK, f"the key is accepted{total}")
    text = brief(outcome)
    if isinstance(outcome, APIStatusError):
        request = f", request id {outcome.request_id}" if outcome.request_id else ""
        text = f"{text} (HTTP {outcome.status}{request})"
    if isinstance(outcome, RateLimitError):
        advice = f"The key was not refused. {outcome.advice}"
        return Check("access", Verdict.WARNING, text, advice)
    return failed("access", text, _about_answer(outcome, found), exit_of(outcome))


def _about_answer(error: DashScopeFTError, found: FoundSettings) -> str:
    others = [name for name in REGIONS if found.region is None or name != found.region.value]
    elsewhere = f"try --region {', '.join(others)}."
    match error:
        case AuthenticationError():
            return f"The key is wrong, or of another region (a key is valid in one only): {elsewhere}"
        case NotFoundError(code=str(code)) if code.lower().startswith("workspace"):
            return "Check the workspace: a key sees those of its own account and region."
        case NotFoundError():
            return f"Fine-tuning is not offered there: check the base URL, or {elsewhere}"
        case _:
            return error.advice
