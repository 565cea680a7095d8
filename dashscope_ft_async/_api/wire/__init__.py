"""Build requests and decode responses: bytes to values and back, without I/O.

Sources: the pages "Query a fine-tuning job" and "List fine-tuning jobs"
(https://www.alibabacloud.com/help/en/model-studio/get-fine-tuning-job-api).
"""

from dashscope_ft_async._api.wire.checkpoints import (
    decode_checkpoints,
    decode_exported,
    decode_validation_page,
    decode_validation_results,
)
from dashscope_ft_async._api.wire.compression import BODY_LIMIT, inflate, too_large
from dashscope_ft_async._api.wire.envelope import endpoint_error
from dashscope_ft_async._api.wire.jobs import (
    Row,
    ScannedPage,
    decode_action,
    decode_created,
    decode_job,
    decode_page,
    scan_page,
)
from dashscope_ft_async._api.wire.logs import Event, EventParser, decode_logs
from dashscope_ft_async._api.wire.messages import HEADERS_READ, Request, Response
from dashscope_ft_async._api.wire.requests import (
    cancel_request,
    checkpoint_name,
    checkpoints_request,
    create_request,
    delete_request,
    export_request,
    job_id_of,
    job_request,
    logs_request,
    page_request,
    stream_request,
    validation_details_request,
    validation_results_request,
)

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
    "checkpoint_name",
    "checkpoints_request",
    "create_request",
    "decode_action",
    "decode_checkpoints",
    "decode_created",
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
    "page_request",
    "scan_page",
    "stream_request",
    "too_large",
    "validation_details_request",
    "validation_results_request",
]
