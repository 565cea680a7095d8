"""Which error class an HTTP status and the body's code mean together.

Codes come in PascalCase, dotted and snake_case forms of the same cause (``Throttling.RateQuota``,
``invalid_api_key``, ``NOT AUTHORIZED``), so they are compared without case, ``_`` and blanks, by their
first and last dotted part. The list: https://www.alibabacloud.com/help/en/model-studio/error-code
"""

from __future__ import annotations

from dashscope_ft_async import errors

_BILLING = frozenset({"arrearage", "postpaidbilloverdue", "prepaidbilloverdue", "commoditynotpurchased"})

# Causes named whatever the HTTP status, since gateways disagree with the service about it.
_BY_CODE: dict[str, type[errors.APIStatusError]] = {
    **dict.fromkeys(_BILLING, errors.PermissionDeniedError),
    "throttling": errors.RateLimitError,
    "invalidapikey": errors.AuthenticationError,
}

_BY_STATUS: dict[int, type[errors.APIStatusError]] = {
    400: errors.BadRequestError,
    401: errors.AuthenticationError,
    403: errors.PermissionDeniedError,
    404: errors.NotFoundError,
    409: errors.ConflictError,
    429: errors.RateLimitError,
    503: errors.ServiceUnavailableError,
}

# Consulted only where the HTTP status says nothing: 2xx.
_BY_CODE_UNDER_SUCCESS: dict[str, type[errors.APIStatusError]] = {
    "badrequest": errors.BadRequestError,
    "datainspectionfailed": errors.BadRequestError,
    "invalidparameter": errors.BadRequestError,
    "missingparameter": errors.BadRequestError,
    "operationdenied": errors.BadRequestError,
    "unsupportedoperation": errors.BadRequestError,
    "unauthorized": errors.AuthenticationError,
    "accessdenied": errors.PermissionDeniedError,
    "forbidden": errors.PermissionDeniedError,
    "freetieronly": errors.PermissionDeniedError,
    "notauthorised": errors.PermissionDeniedError,
    "notauthorized": errors.PermissionDeniedError,
    "modelnotfound": errors.NotFoundError,
    "modelnotsupported": errors.NotFoundError,
    "notfound": errors.NotFoundError,
    "resourcenotfound": errors.NotFoundError,
    "workspacenotfound": errors.NotFoundError,
    "conflict": errors.ConflictError,
    "insufficientquota": errors.RateLimitError,
    "limitburstrate": errors.RateLimitError,
    "limitrequests": errors.RateLimitError,
    "quotaexceeded": errors.RateLimitError,
    "gatewaytimeout": errors.InternalServerError,
    "internalerror": errors.InternalServerError,
    "modelservicefailed": errors.InternalServerError,
    "requesttimeout": errors.InternalServerError,
    "responsetimeout": errors.InternalServerError,
    "systemerror": errors.InternalServerError,
    "modelservingerror": errors.ServiceUnavailableError,
    "modelunavailable": errors.ServiceUnavailableError,
    "serviceunavailable": errors.ServiceUnavailableError,
}


def _parts(code: str | None) -> tuple[str, ...]:
    plain = (code or "").casefold().replace("_", "").replace(" ", "")
    names = plain.split(".")
    return (names[0], names[-1])


def status_error_class(status: int, code: str | None) -> type[errors.APIStatusError]:
    """The leaf for an answer; `errors.APIStatusError` itself where none fits."""
    parts = _parts(code)
    for part in parts:
        if part in _BY_CODE:
            return _BY_CODE[part]
    if 200 <= status <= 299:
        for part in parts:
            if part in _BY_CODE_UNDER_SUCCESS:
                return _BY_CODE_UNDER_SUCCESS[part]
    if status in _BY_STATUS:
        return _BY_STATUS[status]
    return errors.InternalServerError if 500 <= status <= 599 else errors.APIStatusError
