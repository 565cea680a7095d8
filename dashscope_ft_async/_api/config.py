"""The settings of a client: API key, base URL, region and workspace.

They come from arguments, from the environment, or from the official SDK's key file. Names of variables,
files and hosts are the official SDK's. Hosts: https://www.alibabacloud.com/help/en/model-studio/regions
"""

from __future__ import annotations

import codecs
import ipaddress
import json
import os
import re
from collections.abc import Mapping
from hmac import compare_digest
from pathlib import Path
from typing import cast
from urllib.parse import SplitResult, quote, urlsplit

import attrs

from dashscope_ft_async.errors import ConfigurationError
from dashscope_ft_async.models import looks_like_api_key

DEFAULT_REGION = "ap-southeast-1"

_VARIABLES = {
    "api_key": ("DASHSCOPE_API_KEY",),
    "key file": ("DASHSCOPE_API_KEY_FILE_PATH",),
    "base_url": ("DASHSCOPE_BASE_URL", "DASHSCOPE_HTTP_BASE_URL"),
    "region": ("DASHSCOPE_REGION", "DASHSCOPE_API_REGION"),
    "workspace": ("DASHSCOPE_WORKSPACE", "DASHSCOPE_WORKSPACE_ID"),
}
"""Of several variables for one setting, the first that is set counts."""

_SHARED_HOSTS = {
    "cn-beijing": "dashscope.aliyuncs.com",
    "ap-southeast-1": "dashscope-intl.aliyuncs.com",
    "us-east-1": "dashscope-us.aliyuncs.com",
    "cn-hongkong": "cn-hongkong.dashscope.aliyuncs.com",
}
_FOREIGN_PATH = re.compile(
    r"(/(compatible-mode|api-openai|compatible-api|apps/anthropic)(/.*)?"
    r"|/api(/v1(/(deployments|files|fine-tunes|models|services|tasks)(/.*)?)?)?)$"
)
"""Ends of URLs that are replaced by ``/api/v1``: other APIs of the same host, and endpoints of this one."""
_ACCESS_KEY_ID = re.compile(r"LTAI[A-Za-z0-9]{8,}", re.ASCII)
# urlsplit finds the loopback host ::1 in "[::1]evil.example" too.
_AUTHORITY = re.compile(r"(\[[^\[\]]+\]|[^\[\]:]+)(:\d*)?", re.ASCII)
_WORKSPACE_REGIONS = frozenset({"eu-central-1", "ap-northeast-1"})
REGIONS = (*_SHARED_HOSTS, *sorted(_WORKSPACE_REGIONS))

_SHORTEST_SECRET = 8
"""Characters. A shorter text is a test's placeholder, and would be found in ordinary words of an answer."""


class Secret:
    """A text that only `reveal` shows, and that cannot be pickled."""

    __slots__ = ("_forms", "_raw_forms", "_text")

    def __init__(self, text: str) -> None:
        self._text = text
        self._forms: tuple[str, ...] = ()
        if isinstance(cast("object", text), str) and len(text) >= _SHORTEST_SECRET:
            escaped = (
                text.replace("/", r"\/"), json.dumps(text)[1:-1], quote(text, "", errors="replace"),
            )  # fmt: skip
            self._forms = tuple({text, *escaped})
        self._raw_forms = tuple(form.encode("utf-8", "replace") for form in self._forms)

    def reveal(self) -> str:
        """The text."""
        return self._text

    def is_same(self, other: Secret) -> bool:
        """Whether both hold the same text, compared in constant time."""
        return compare_digest(self.reveal().encode(), other.reveal().encode())

    def masked_in(self, text: str) -> str:
        """`text` with ``***`` in place of the secret, in plain form or as JSON and URLs write it."""
        for form in self._forms:
            text = text.replace(form, "***")
        return text

    def masked_in_bytes(self, text: bytes) -> bytes:
        """As `masked_in`."""
        for form in self._raw_forms:
            text = text.replace(form, b"***")
        return text

    def begins_at_end_of(self, text: bytes) -> int:
        """How many of the last bytes of `text` may be the beginning of the secret."""
        sizes = range(max(map(len, self._raw_forms), default=1) - 1, 0, -1)
        return next(
            (size for size in sizes if any(form[:size] == text[-size:] for form in self._raw_forms)), 0
        )

    def __repr__(self) -> str:
        return "Secret(***)"

    def __reduce__(self) -> str:
        raise TypeError("an API key cannot be pickled")


class Mask:
    """Masks a secret in bytes that come in pieces. It holds back only what may be the beginning of it."""

    def __init__(self, secret: Secret) -> None:
        self._secret = secret
        self._held = b""

    def feed(self, piece: bytes) -> bytes:
        """The bytes that are certain so far."""
        text = self._secret.masked_in_bytes(self._held + piece)
        certain = len(text) - self._secret.begins_at_end_of(text)
        self._held = text[certain:]
        return text[:certain]

    def end(self) -> bytes:
        """The bytes that were held back, at the end."""
        return self._held


@attrs.frozen
class Setting:
    """The value of a setting, and where it came from."""

    value: str
    source: str
    """``argument``, ``variable DASHSCOPE_REGION``, ``file /home/me/.dashscope/api_key`` or ``default``."""

    @property
    def origin(self) -> str:
        """The source for the end of a name in a message; empty for an argument."""
        return "" if self.source in ("argument", "default") else f" (from {self.source.partition(' ')[2]})"


@attrs.frozen(kw_only=True)
class FoundSettings:
    """The settings that a client would use, from `find_settings`. It does not hold the API key."""

    base_url: Setting
    """Without a trailing slash, ``/api/v1`` included."""
    region: Setting | None
    """`None` if a URL was given, which names the host by itself."""
    workspace: Setting | None
    api_key: Setting | None
    """Its value shows only the kind of key: ``sk-***``, ``sk-sp-***`` (Coding Plan), ``***``. `None` if no
    key was found."""


@attrs.frozen(kw_only=True)
class Settings:
    """What a client needs to send requests."""

    api_key: Secret
    base_url: str
    """Without a trailing slash, ``/api/v1`` included."""
    workspace: str | None
    described_url: str
    """The base URL and where it came from, for error messages."""

    @property
    def host(self) -> str:
        """Host name of the base URL."""
        return urlsplit(self.base_url).hostname or ""


def settings(
    *,
    api_key: Secret | None = None,
    base_url: str | None = None,
    region: str | None = None,
    workspace: str | None = None,
    allow_insecure_http: bool = False,
    environ: Mapping[str, str] | None = None,
) -> Settings:
    """The settings from arguments, else the environment, else the key file.

    Raises:
        ConfigurationError: one is missing, unreadable or contradictory.
    """
    given = {"base_url": base_url, "region": region, "workspace": workspace}
    found, key = _find(api_key, given, environ, allow_insecure_http=allow_insecure_http)
    if key is None:
        file = _given("key file", None, os.environ if environ is None else environ)
        environ = None  # or the frames of the error would hold it
        raise ConfigurationError(
            "no API key: set DASHSCOPE_API_KEY, or store it in ~/.dashscope/api_key; "
            "a program may also pass api_key=."
            + (f" The file that {_VARIABLES['key file'][0]} names has none." if file else "")
        )
    return Settings(
        api_key=key,
        base_url=found.base_url.value,
        workspace=None if found.workspace is None else found.workspace.value,
        # Some gateways want a key in the path of the URL.
        described_url=_without(key, found.base_url).value + found.base_url.origin,
    )


def find_settings(
    *,
    api_key: str | None = None,
    base_url: str | None = None,
    region: str | None = None,
    workspace: str | None = None,
    allow_insecure_http: bool = False,
) -> FoundSettings:
    """The settings that `FineTuneClient` would use with these arguments, and where each comes from.

    Raises:
        ConfigurationError: as `FineTuneClient`, except for a missing API key.
    """
    secret = None if api_key is None else Secret(api_key)
    del api_key
    given = {"base_url": base_url, "region": region, "workspace": workspace}
    found, key = _find(secret, given, None, allow_insecure_http=allow_insecure_http)
    if key is None:
        return found
    # A key that was given in the place of another setting must not be shown there.
    return attrs.evolve(
        found,
        base_url=_without(key, found.base_url),
        workspace=found.workspace and _without(key, found.workspace),
    )


def _without(key: Secret, setting: Setting) -> Setting:
    return Setting(key.masked_in(setting.value), setting.source)


def _find(
    api_key: Secret | None,
    given: Mapping[str, str | None],
    environ: Mapping[str, str] | None,
    *,
    allow_insecure_http: bool,
) -> tuple[FoundSettings, Secret | None]:
    env = os.environ if environ is None else environ
    try:
        found = _locate(given, env, allow_insecure_http=allow_insecure_http)
        key, source = _find_key(api_key, env)
    except ConfigurationError as error:
        # The frames of the functions below hold the environment and the key, and so does this one.
        refusal = error.with_traceback(None)
        del env, environ
    else:
        if key is None:
            return found, None
        kinds = (prefix for prefix in ("sk-sp-", "sk-") if key.reveal().startswith(prefix))
        return attrs.evolve(found, api_key=Setting(f"{next(kinds, '')}***", source)), key
    raise refusal


def _locate(
    given: Mapping[str, str | None], env: Mapping[str, str], *, allow_insecure_http: bool
) -> FoundSettings:
    if given["base_url"] is not None and given["region"] is not None:
        raise ConfigurationError("give base_url or region, not both: each names a host.")
    workspace = _given("workspace", given["workspace"] or None, env)
    if workspace is not None:
        name = f"workspace{workspace.origin}"
        _check_header(name, workspace.value)
        if looks_like_api_key(workspace.value):
            raise ConfigurationError(f"{name} looks like an API key: give the id of a workspace.")
    url = _given("base_url", given["base_url"], env) if given["region"] is None else None
    region = None
    if url is None:
        region = _given("region", given["region"] or None, env) or Setting(DEFAULT_REGION, "default")
        url = Setting(_region_url(region, None if workspace is None else workspace.value), region.source)
    normalised = _normalised(url, allow_insecure_http=allow_insecure_http)
    return FoundSettings(
        base_url=Setting(normalised, url.source), region=region, workspace=workspace, api_key=None
    )


def _given(name: str, argument: str | None, env: Mapping[str, str]) -> Setting | None:
    """A setting from its argument, else from the environment, without the line break of a shell or file."""
    if argument is not None:
        return Setting(argument, "argument")
    found = ((variable, env.get(variable, "").strip()) for variable in _VARIABLES[name])
    return next((Setting(value, f"variable {variable}") for variable, value in found if value), None)


def _find_key(given: Secret | None, env: Mapping[str, str]) -> tuple[Secret | None, str]:
    """The API key and its source."""
    key, source = given, "argument"
    if key is None and (found := _given("api_key", None, env)) is not None:
        key, source = Secret(found.value), found.source
    if key is None and (path := _key_file(env)) is not None:
        key, source = Secret(_text_in(path)), f"file {path}"
    if key is None or not key.reveal():
        return None, ""
    name = f"api_key{Setting('', source).origin}"
    _check_header(name, key.reveal())
    if _ACCESS_KEY_ID.fullmatch(key.reveal()):
        raise ConfigurationError(
            f"{name} is the id of an AccessKey: Model Studio needs an API key, which begins with sk-."
        )
    return key, source


def _key_file(env: Mapping[str, str]) -> Path | None:
    named = _given("key file", None, env)
    if named is not None:
        return Path(named.value)
    try:
        return Path.home() / ".dashscope" / "api_key"
    except RuntimeError:  # no HOME, and a user id without an entry in the password file
        return None


def _text_in(path: Path) -> str:
    """The text of a file in UTF-8, or in UTF-16 as editors of Windows write it; empty if unreadable."""
    try:
        raw = path.read_bytes()
        utf16 = raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        return raw.decode("utf-16" if utf16 else "utf-8-sig").strip()
    except (OSError, UnicodeError):
        return ""


def _check_header(name: str, value: object) -> None:
    # The value is not shown: it may be the key, or a key given in the wrong place.
    if not isinstance(value, str) or not value.isascii() or not value.isprintable() or " " in value:
        raise ConfigurationError(f"{name} must be text without blanks, control or non-ASCII characters.")


def _region_url(named: Setting, workspace: str | None) -> str:
    region, origin = named.value, named.origin
    if region in _SHARED_HOSTS:
        return f"https://{_SHARED_HOSTS[region]}"
    if region not in _WORKSPACE_REGIONS:
        alike = [known for known in REGIONS if str(region).lower() in known]
        hint = f"did you mean {alike[0]}? " if len(alike) == 1 else ""
        known = ", ".join(sorted(REGIONS))
        raise ConfigurationError(
            f"unknown region {region!r}{origin}: {hint}known are {known}; or pass base_url=."
        )
    if workspace is None:
        raise ConfigurationError(f"region {region}{origin} has no shared host: pass workspace= too.")
    if not workspace.replace("-", "").isalnum():  # "evil.example/" would lead to another host
        raise ConfigurationError(f"workspace must be letters, digits and hyphens for region {region}.")
    return f"https://{workspace}.{region}.maas.aliyuncs.com"


def _normalised(url: Setting, *, allow_insecure_http: bool) -> str:
    name = f"base_url{url.origin}"
    parts = _split(name, url.value)
    if parts.scheme == "http" and not (allow_insecure_http or _is_loopback(parts.hostname or "")):
        raise ConfigurationError(
            f"{name} is plain http, which would send the API key in the clear: use https, "
            "or allow_insecure_http=True if that is intended."
        )
    path = _FOREIGN_PATH.sub("", parts.path.rstrip("/")).rstrip("/")
    return f"{parts.scheme}://{parts.netloc}{path}/api/v1"


def _split(name: str, base_url: object) -> SplitResult:
    # Parts of the URL are not shown: people paste credentials into URLs.
    no_url = f"{name} must be a URL such as https://dashscope-intl.aliyuncs.com/api/v1."
    if not isinstance(base_url, str) or not base_url.isprintable() or " " in base_url or "\\" in base_url:
        raise ConfigurationError(no_url)
    try:
        parts = urlsplit(base_url)
        usable = (
            parts.scheme in ("http", "https")
            and _AUTHORITY.fullmatch(parts.netloc.rpartition("@")[2])
            and parts.hostname
            and parts.hostname.encode("idna")  # or no name server could be asked for it
            and parts.port != 0
        )
    except ValueError:
        usable = False
        parts = SplitResult("", "", "", "", "")
    if not usable:
        raise ConfigurationError(no_url)
    if "@" in parts.netloc or parts.query or parts.fragment or "?" in base_url or "#" in base_url:
        raise ConfigurationError(f"{name} must not hold credentials, a query or a fragment.")
    return parts


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    # Python before 3.13 does not see the loopback address inside an IPv6 one.
    inside = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (inside or address).is_loopback
