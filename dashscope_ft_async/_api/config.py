"""Where to ask and as whom, from arguments, the environment and the official SDK's key file.

Names of variables, files and hosts are the official SDK's, so a program that moves here keeps its
set-up. Hosts: https://www.alibabacloud.com/help/en/model-studio/regions
"""

from __future__ import annotations

import ipaddress
import json
import os
import re
from collections.abc import Iterable, Mapping
from hmac import compare_digest
from pathlib import Path
from typing import Generic, Literal, TypeVar, cast
from urllib.parse import SplitResult, quote, urlsplit

import attrs

from dashscope_ft_async.errors import ConfigurationError
from dashscope_ft_async.models import looks_like_api_key

_T = TypeVar("_T")

DEFAULT_REGION = "ap-southeast-1"

# Of several variables for one thing, the first that is set counts.
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
# urlsplit finds the host ::1, which is this machine's, in "[::1]evil.example" too.
_AUTHORITY = re.compile(r"(\[[^\[\]]+\]|[^\[\]:]+)(:\d*)?", re.ASCII)
_WORKSPACE_REGIONS = frozenset({"eu-central-1", "ap-northeast-1"})
REGIONS = (*_SHARED_HOSTS, *sorted(_WORKSPACE_REGIONS))

_LEAST_SECRET = 8
"""Characters: what is shorter is a stand-in of a test, and would be found in the words of an answer."""


class Secret:
    """A text that shows itself only when asked, and refuses to be pickled."""

    __slots__ = ("_forms", "_text")

    def __init__(self, text: str) -> None:
        self._text = text
        self._forms: frozenset[bytes] = frozenset()
        if isinstance(cast("object", text), str) and len(text) >= _LEAST_SECRET:
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
        """Whether both hold the same text; in a time that tells nothing of it."""
        return compare_digest(self.reveal().encode(), other.reveal().encode())

    def struck_from(self, text: bytes) -> bytes:
        """`text` without this one, as it is or as JSON and URLs write it."""
        for form in self._forms:
            text = text.replace(form, b"***")
        return text

    def begun_at_the_end_of(self, text: bytes) -> int:
        """How many of the last bytes of `text` may be the beginning of this one."""
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
    """Strikes a secret out of bytes that come in pieces; holds back only what may be its beginning."""

    def __init__(self, secret: Secret) -> None:
        self._secret = secret
        self._held = b""

    def feed(self, piece: bytes) -> bytes:
        """What may be shown so far."""
        text = self._secret.struck_from(self._held + piece)
        shown = len(text) - self._secret.begun_at_the_end_of(text)
        self._held = text[shown:]
        return text[:shown]

    def end(self) -> bytes:
        """What was held back when no more comes."""
        return self._held


@attrs.frozen
class Origin:
    """Where a setting came from."""

    kind: Literal["argument", "variable", "file", "default"]
    name: str = ""
    """Name of the variable, path of the file."""


@attrs.frozen
class Found(Generic[_T]):
    """A setting, and where it came from."""

    value: _T
    origin: Origin


@attrs.frozen(kw_only=True)
class Place:
    """Where to ask."""

    base_url: Found[str]
    """Without a trailing slash, ``/api/v1`` included."""
    region: Found[str] | None
    """`None` where a URL was given, which names the host by itself."""
    workspace: Found[str] | None


@attrs.frozen(kw_only=True)
class Settings:
    """Where to ask and as whom."""

    api_key: Secret
    base_url: str
    """Without a trailing slash, ``/api/v1`` included."""
    workspace: str | None

    @property
    def described_url(self) -> str:
        """The base URL for error messages."""
        return self.base_url

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
    """Arguments first, then the environment, then the key file. Raises `ConfigurationError`."""
    try:
        return _settled(
            api_key,
            base_url,
            region,
            workspace,
            os.environ if environ is None else environ,
            allow_insecure_http=allow_insecure_http,
        )
    except ConfigurationError as error:
        # The frames it went through held the environment and the key in the clear.
        refusal = error.with_traceback(None)
    raise refusal


def _settled(
    api_key: Secret | None,
    base_url: str | None,
    region: str | None,
    workspace: str | None,
    env: Mapping[str, str],
    *,
    allow_insecure_http: bool,
) -> Settings:
    place = place_of(base_url, region, workspace, env, allow_insecure_http=allow_insecure_http)
    return Settings(
        api_key=key_of(api_key, env).value,
        base_url=place.base_url.value,
        workspace=None if place.workspace is None else place.workspace.value,
    )


def place_of(
    base_url: str | None,
    region: str | None,
    workspace: str | None,
    env: Mapping[str, str],
    *,
    allow_insecure_http: bool = False,
) -> Place:
    """Where `settings` asks, and who said so."""
    if base_url is not None and region is not None:
        raise ConfigurationError("give base_url or region, not both: each names a host.")
    ours = _found(workspace or None, env, WORKSPACE_VARIABLES)
    if ours is not None:
        name = f"workspace{_from(ours.origin)}"
        _check_header(name, ours.value)
        if looks_like_api_key(ours.value):
            raise ConfigurationError(f"{name} looks like an API key: give the id of a workspace.")
    url = _found(base_url, env, URL_VARIABLES) if region is None else None
    there = None
    if url is None:
        there = _found(region or None, env, REGION_VARIABLES) or Found(DEFAULT_REGION, Origin("default"))
        url = Found(_region_url(there, None if ours is None else ours.value), there.origin)
    normalised = _normalised(url, allow_insecure_http=allow_insecure_http)
    return Place(base_url=Found(normalised, url.origin), region=there, workspace=ours)


def key_of(given: Secret | None, env: Mapping[str, str]) -> Found[Secret]:
    """The key that `settings` uses, and who gave it."""
    if given is not None:
        key = Found(given, Origin("argument"))
    elif env.get(KEY_VARIABLE):
        key = Found(Secret(env[KEY_VARIABLE]), Origin("variable", KEY_VARIABLE))
    else:
        path = _key_file(env)
        key = Found(Secret(_text_in(path)), Origin("file", str(path)))
    if not key.value.reveal():
        named = f" The file that {KEY_FILE_VARIABLE} names has none." if env.get(KEY_FILE_VARIABLE) else ""
        raise ConfigurationError(
            "no API key: set DASHSCOPE_API_KEY, or store it in ~/.dashscope/api_key; "
            f"a program may also pass api_key=.{named}"
        )
    _check_header(f"api_key{_from(key.origin)}", key.value.reveal())
    return key


def _found(given: str | None, env: Mapping[str, str], variables: Iterable[str]) -> Found[str] | None:
    if given is not None:
        return Found(given, Origin("argument"))
    return next((Found(env[name], Origin("variable", name)) for name in variables if env.get(name)), None)


def _from(origin: Origin) -> str:
    return f" (from {origin.name})" if origin.name else ""


def _key_file(env: Mapping[str, str]) -> Path:
    named = env.get(KEY_FILE_VARIABLE)
    return Path(named) if named else Path.home() / ".dashscope" / "api_key"


def _text_in(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return ""


def _check_header(name: str, value: object) -> None:
    # The value is not shown: it may be the key, or a key given in the wrong place.
    if not isinstance(value, str) or not value.isascii() or not value.isprintable() or " " in value:
        raise ConfigurationError(f"{name} must be text without blanks, control or non-ASCII characters.")


def _region_url(named: Found[str], workspace: str | None) -> str:
    region, place = named.value, _from(named.origin)
    if region in _SHARED_HOSTS:
        return f"https://{_SHARED_HOSTS[region]}"
    if region not in _WORKSPACE_REGIONS:
        known = ", ".join(sorted(REGIONS))
        raise ConfigurationError(
            f"unknown region {region!r}{place}; known are {known}. Else pass base_url=."
        )
    if workspace is None:
        raise ConfigurationError(f"region {region}{place} has no shared host: pass workspace= too.")
    if not workspace.replace("-", "").isalnum():  # "evil.example/" would make another host of it
        raise ConfigurationError(f"workspace must be letters, digits and hyphens for region {region}.")
    return f"https://{workspace}.{region}.maas.aliyuncs.com"


def _normalised(url: Found[str], *, allow_insecure_http: bool) -> str:
    name = f"base_url{_from(url.origin)}"
    parts = _split(name, url.value)
    if parts.scheme == "http" and not (allow_insecure_http or _is_loopback(parts.hostname or "")):
        raise ConfigurationError(
            f"{name} is plain http, which would send the API key in the clear: use https, "
            "or allow_insecure_http=True where that is meant."
        )
    path = parts.path.rstrip("/").removesuffix("/api/v1").rstrip("/")
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
