"""Pure: requests to build, what the bytes of an answer mean. The only door to cattrs and orjson.

Facts of the service: the pages "Query a fine-tuning job" and "List fine-tuning jobs"
(https://www.alibabacloud.com/help/en/model-studio/get-fine-tuning-job-api).
"""

from dashscope_ft_async._api.wire.actions import (
    cancel_request,
    create_request,
    decode_created,
    decode_done,
    delete_request,
)
from dashscope_ft_async._api.wire.answers import decode_job, decode_page, scan_page
from dashscope_ft_async._api.wire.body import BODY_LIMIT, inflate, too_large
from dashscope_ft_async._api.wire.checkpoints import (
    checkpoint_of,
    checkpoints_request,
    decode_checkpoints,
    decode_exported,
    decode_validation_page,
    decode_validation_results,
    export_request,
    validation_details_request,
    validation_results_request,
)
from dashscope_ft_async._api.wire.envelope import endpoint_error
from dashscope_ft_async._api.wire.events import Event, EventParser
from dashscope_ft_async._api.wire.logs import decode_logs, logs_request, stream_request
from dashscope_ft_async._api.wire.messages import HEADERS_READ, Request, Response
from dashscope_ft_async._api.wire.metrics import metric_of
from dashscope_ft_async._api.wire.pages import Row, ScannedPage
from dashscope_ft_async._api.wire.requests import job_id_of, job_request, page_request

__all__ = [
    "BODY_LIMIT",
    "HEADERS_READ",
    "Event",
    "EventParser",
    "Request",
    "Response",
    "Row",
    "ScannedPage",
    "cancel_request",
    "checkpoint_of",
    "checkpoints_request",
    "create_request",
    "decode_checkpoints",
    "decode_created",
    "decode_done",
    "decode_exported",
    "decode_job",
    "decode_logs",
    "decode_page",
    "decode_validation_page",
    "decode_validation_results",
    "delete_request",
    "endpoint_error",
    "export_request",
    "inflate",
    "job_id_of",
    "job_request",
    "logs_request",
    "metric_of",
    "page_request",
    "scan_page",
    "stream_request",
    "too_large",
    "validation_details_request",
    "validation_results_request",
]
