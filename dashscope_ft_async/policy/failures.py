"""What a failed request means: whether it is transient, and whether the request may be sent again."""

from __future__ import annotations

from dashscope_ft_async.errors import (
    APIConnectionError,
    APIError,
    APIResponseValidationError,
    APIStatusError,
    AuthenticationError,
    BadRequestError,
    ClientClosedError,
    ConflictError,
    InternalServerError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    ServiceUnavailableError,
)
from dashscope_ft_async.models.limits import CALL_RETRY_AFTER

_PERMANENT = (BadRequestError, AuthenticationError, PermissionDeniedError, ConflictError)
_TRANSIENT = (RateLimitError, InternalServerError, ServiceUnavailableError)
_TRANSIENT_STATUS = frozenset({408, 425, 429})


def is_transient(error: BaseException, *, answered: bool = False) -> bool:
    """Whether the same request may well succeed later.

    `answered` says that this client has had a good answer before. Then an answer that is not the service's
    JSON comes from something in between, and is transient whatever its status.
    """
    match error:
        case APIConnectionError() | APIResponseValidationError():
            return True
        case APIStatusError(json_body=False) if answered:
            return True
        case RateLimitError(status=400):
            return False  # a cap on how much the account stores, not a rate
        case NotFoundError():
            return error.status == 404 and not error.json_body  # a gateway during a deployment
        case APIStatusError() if isinstance(error, _PERMANENT):
            return False
        case APIStatusError() if isinstance(error, _TRANSIENT):
            return True
        case APIStatusError():
            return error.status in _TRANSIENT_STATUS or 200 <= error.status <= 299
        case _:
            return False


def is_wrong_address(error: BaseException) -> bool:
    """Whether a failure suggests that the service is not at this address: no connection, or an answer
    that is not the service's JSON under a status that a missing page, a redirect or another site has."""
    match error:
        case APIConnectionError():
            return error.never_connected
        case APIResponseValidationError():
            return not error.json_body
        case APIStatusError(json_body=False):
            return 200 <= error.status <= 399 or error.status in (404, 405)
        case _:
            return False


def may_retry(error: BaseException, *, answered: bool = False) -> bool:
    """Whether a single call retries after `error`: it is transient, and asks for no long pause."""
    retry_after = error.retry_after if isinstance(error, APIError) else None
    return is_transient(error, answered=answered) and (retry_after or 0.0) <= CALL_RETRY_AFTER


def may_repeat(error: BaseException, *, answered: bool = False) -> bool:
    """Whether a request that must not be carried out twice may be sent again: it certainly had no effect.

    That is so if no connection was made, or if the service refused the request because of its rate. A cap
    on the number of jobs has the same code, but waiting does not lift it.
    """
    match error:
        case APIConnectionError():
            return error.never_connected
        case RateLimitError(status=429):
            return may_retry(error) and "fine-tune job" not in (error.message or "").lower()
        case _:
            return False


def may_have_effect(error: BaseException) -> bool:
    """Whether a request that failed with `error` may have been carried out all the same."""
    match error:
        case APIConnectionError():
            return not error.never_connected
        case APIResponseValidationError() | ClientClosedError():
            return True
        case RateLimitError() | NotFoundError():
            return False
        case APIStatusError():
            return is_transient(error) and error.status != 425
        case _:
            return False
