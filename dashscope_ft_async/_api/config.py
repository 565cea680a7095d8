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
from collections.abc import Iterable, Mapping
from hmac import compare_digest
from pathlib import Path
from typing import cast
from urllib.parse import SplitResult, quote, urlsplit

import attrs

from dashscope_ft_async.errors import ConfigurationError
from dashscope_ft_async.models import looks_like_api_key

DEFAULT_REGION = "ap-southeast-1"

# Of several variables for one setting, the first that is set counts.
KEY_VARIABLE = "DASHSCOPE_API_KEY"
KEY_FILE_VARIABLE = "DASHSCOPE_API_KEY_FILE_PATH"
URL_VARIABLES = ("DASHSCOPE_BASE_URL", "DASHSCOPE_HTTP_BASE_URL")
REGION_VARIABLES = ("DASHSCOPE_REGION", "DASHSCOPE_API_REGION")
WORKSPACE_VARIABLES = ("DASHSCOPE_WORKSPACE", "DASHSCOPE_WORKSPACE_ID")

_SHARED_HOSTS = {
    "cn-beijing": "dashscope.aliyuncs.com",
    "ap-southeast-1": "dashscope-intl.aliyuncs.com",
    "us-east-1": "dashscope-us.aliyuncs.com",
    "cn-hongkong": "cn-hongkong.dashscope.aliyuncs.com",
}
_FOREIGN_PATH = re.compile(
    r"(/compatible-mode(/v1)?|/api-openai(/v1)?|/compatible-api(/v1)?|/apps/anthropic(/v1)?"
    r"|/api(/v1)?(/fine-tunes(/[^/]*)?)?)$"
)
"""Ends of URLs that are replaced by ``/api/v1``."""
_ACCESS_KEY_ID = re.compile(r"LTAI[A-Za-z0-9]{8,}", re.ASCII)
# urlsplit finds the loopback host ::1 in "[::1]evil.example" too.
_AUTHORITY = re.compile(r"(\[[^\[\]]+\]|[^\[\]:]+)(:\d*)?", re.ASCII)
_WORKSPACE_REGIONS = frozenset({"eu-central-1", "ap-northeast-1"})
REGIONS = (*_SHARED_HOSTS, *sorted(_WORKSPACE_REGIONS))

_SHORTEST_SECRET = 8
"""Characters. A shorter text is a test's placeholder, and would be found in ordinary words of an answer."""


class Secret:
    """A text that only `reveal` shows, and that cannot be pickled."""

    __slots__ = ("_forms", "_text")

    def __init__(self, text: str) -> None:
        self._text = text
        self._forms: frozenset[bytes] = frozenset()
        if isinstance(cast("object", text), str) and len(text) >= _SHORTEST_SECRET:
            forms = (
                text,
                text.replace("/", r"\/"),
                json.dumps(text)[1:-1],
                quote(text, "", errors="replace"),
            )
            self._forms = frozenset(form.encode("utf-8", "replace") for form in forms)

    def reveal(self) -> str:
        """The text."""
        return self._text

    def is_same(self, other: Secret) -> bool:
        """Whether both hold the same text, compared in constant time."""
        return compare_digest(self.reveal().encode(), other.reveal().encode())

    def masked_in(self, text: bytes) -> bytes:
        """`text` with ``***`` in place of the secret, in plain form or as JSON and URLs write it."""
        for form in self._forms:
            text = text.replace(form, b"***")
        return text

    def begins_at_end_of(self, text: bytes) -> int:
        """How many of the last bytes of `text` may be the beginning of the secret."""
        return next(
            (
                size
                for size in range(max(map(len, self._forms), default=1) - 1, 0, -1)
                if any(len(form) > size and text.endswith(form[:size]) for form in self._forms)
            ),
            0,
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
        text = self._secret.masked_in(self._held + piece)
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
    env = os.environ if environ is None else environ
    try:
        found = _locate(base_url, region, workspace, env, allow_insecure_http=allow_insecure_http)
        key = _find_key(api_key, env)
        secret = _required(key, env)
        return Settings(
            api_key=secret,
            base_url=found.base_url.value,
            workspace=None if found.workspace is None else found.workspace.value,
            # Some gateways want a key in the path of the URL.
            described_url=_without(secret, found.base_url).value + found.base_url.origin,
        )
    except ConfigurationError as error:
        # The frames of the functions below hold the environment and the key, and so does this one.
        refusal = error.with_traceback(None)
        del env, environ
    raise refusal


def _required(key: tuple[Secret, str] | None, env: Mapping[str, str]) -> Secret:
    if key is None:
        hint = f" The file that {KEY_FILE_VARIABLE} names has none." if env.get(KEY_FILE_VARIABLE) else ""
        raise ConfigurationError(
            "no API key: set DASHSCOPE_API_KEY, or store it in ~/.dashscope/api_key; "
            f"a program may also pass api_key=.{hint}"
        )
    return key[0]


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
    given = None if api_key is None else Secret(api_key)
    del api_key
    try:
        found = _locate(base_url, region, workspace, os.environ, allow_insecure_http=allow_insecure_http)
        key = _find_key(given, os.environ)
        if key is None:
            return found
        # A key that was given in the place of another setting must not be shown there.
        return FoundSettings(
            base_url=_without(key[0], found.base_url),
            region=found.region,
            workspace=found.workspace and _without(key[0], found.workspace),
            api_key=Setting(_masked(key[0]), key[1]),
        )
    except ConfigurationError as error:
        refusal = error.with_traceback(None)
    raise refusal


def _without(key: Secret, setting: Setting) -> Setting:
    return Setting(key.masked_in(setting.value.encode("utf-8", "replace")).decode(), setting.source)


def _masked(key: Secret) -> str:
    kinds = (prefix for prefix in ("sk-sp-", "sk-") if key.reveal().startswith(prefix))
    return f"{next(kinds, '')}***"


def _locate(
    base_url: str | None,
    region: str | None,
    workspace: str | None,
    env: Mapping[str, str],
    *,
    allow_insecure_http: bool,
) -> FoundSettings:
    if base_url is not None and region is not None:
        raise ConfigurationError("give base_url or region, not both: each names a host.")
    used_workspace = _found(workspace or None, env, WORKSPACE_VARIABLES)
    if used_workspace is not None:
        name = f"workspace{used_workspace.origin}"
        _check_header(name, used_workspace.value)
        if looks_like_api_key(used_workspace.value):
            raise ConfigurationError(f"{name} looks like an API key: give the id of a workspace.")
    url = _found(base_url, env, URL_VARIABLES) if region is None else None
    used_region = None
    if url is None:
        used_region = _found(region or None, env, REGION_VARIABLES) or Setting(DEFAULT_REGION, "default")
        of_region = _region_url(used_region, None if used_workspace is None else used_workspace.value)
        url = Setting(of_region, used_region.source)
    normalised = _normalised(url, allow_insecure_http=allow_insecure_http)
    return FoundSettings(
        base_url=Setting(normalised, url.source),
        region=used_region,
        workspace=used_workspace,
        api_key=None,
    )


def _find_key(given: Secret | None, env: Mapping[str, str]) -> tuple[Secret, str] | None:
    """The API key and its source; `None` if there is none."""
    if given is not None:
        key, source = given, "argument"
    elif env.get(KEY_VARIABLE, "").strip():
        key, source = Secret(env[KEY_VARIABLE].strip()), f"variable {KEY_VARIABLE}"
    else:
        path = _key_file(env)
        if path is None:
            return None
        key, source = Secret(_text_in(path)), f"file {path}"
    if not key.reveal():
        return None
    name = f"api_key{Setting('', source).origin}"
    _check_header(name, key.reveal())
    if _ACCESS_KEY_ID.fullmatch(key.reveal()):
        raise ConfigurationError(
            f"{name} is the id of an AccessKey: Model Studio needs an API key, which begins with sk-."
        )
    return key, source


def _found(given: str | None, env: Mapping[str, str], variables: Iterable[str]) -> Setting | None:
    if given is not None:
        return Setting(given, "argument")
    return next((Setting(env[name], f"variable {name}") for name in variables if env.get(name)), None)


def _key_file(env: Mapping[str, str]) -> Path | None:
    named = env.get(KEY_FILE_VARIABLE)
    if named:
        return Path(named)
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
    # URLs of other APIs of the same host, and of this one with its endpoint, are given here by mistake.
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
