"""What decoded jobs, and the decoder itself, keep in memory."""

from __future__ import annotations

import gc
import json
import tracemalloc
from collections.abc import Iterable

from dashscope_ft_async import FineTuneJob
from dashscope_ft_async._api.wire import Response, decode_job

OUTPUT = {"job_id": "ft-1", "status": "RUNNING"}


def allocated(bodies: Iterable[bytes], *, keep: bool) -> int:
    """Bytes that are still allocated after the jobs in `bodies` were decoded."""
    responses = [Response(200, {}, body) for body in bodies]
    decode_job(responses[0], "ft-1")
    kept: list[FineTuneJob] = []
    gc.collect()
    tracemalloc.start()
    try:
        for each in responses:
            job = decode_job(each, "ft-1")
            if keep:
                kept.append(job)
        gc.collect()
        return tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()


def test_long_and_unique_texts_are_not_kept_after_their_jobs() -> None:
    """1,500 polls of jobs with messages of 200 KB kept 325 MB."""
    long = [
        json.dumps({"output": {**OUTPUT, **dict.fromkeys(("message", "group"), f"{n}" * 9999)}}).encode()
        for n in range(100)
    ]
    names = ("job_name", "finetuned_output", "message")
    unique = [
        json.dumps({"output": {**OUTPUT, **{name: f"{name} {n}" for name in names}}}).encode()
        for n in range(5000)
    ]

    assert allocated(long, keep=False) < 50_000
    assert allocated(unique, keep=False) < 50_000


def test_short_texts_that_many_jobs_share_are_kept_once() -> None:
    output = {
        **OUTPUT,
        "model": "qwen3-14b",
        "creator": "1000000000000001",
        "training_file_ids": ["file-1"],
    }
    body = json.dumps({"output": {**output, "hyper_parameters": {"learning_rate": "2e-5"}}}).encode()

    assert allocated([body] * 1000, keep=True) < 600 * 1000
