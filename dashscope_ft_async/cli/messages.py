"""Text for the people who use the command: errors, and values that come from the service."""

from __future__ import annotations

import re

from dashscope_ft_async.errors import (
    APIConnectionError,
    APIStatusError,
    ConfigurationError,
    DashScopeFTError,
    OutageError,
)

_DOCTOR = "`dashscope-ft doctor` says why."
# The library names its Python arguments; the user of the command knows options and variables.
_WORDS = (
    (r"; a program may also pass api_key=", ""),
    (r", or allow_insecure_http=True if that is intended", ""),
    (r"\b(?:api_key|base_url|workspace|proxy) \(from (DASHSCOPE_\w+)\)", r"\1"),
    (r"\bpass (?=(?:base_url|workspace)=)", "give "),
    (r"(?<![/\w])api_key\b=?", "the API key"),
    (r"\bbase_url\b=?", "--base-url"),
    (r"\bgive --base-url or region\b", "give --base-url or --region"),
    (r"\bworkspace=", "--workspace"),
    (r"^(workspace|region|proxy|model)(?= must| looks)", r"--\1"),
    (r"\bhyper_parameters\.", "--hyper-parameter "),
    (r"\bhyper_parameters\b", "--hyper-parameter"),
    (r"\b(training|validation)_file_ids\b", r"--\1-file"),
    (r"\b(training|validation)_datasets\b", r"--\1-dataset"),
    (r"\b(job|model)_name(?= must)", r"--\1-name"),
    (r"\btraining_type(?= must)", "--training-type"),
    (r"\brewards\b(?=\[| must)", "--reward"),
    (r"\b(rollout|priority)(?= must)", r"--\1"),
    (r"\b(extra|teacher|resource)_(body|model|config)(?= must)", r"--\1-\2"),
    (r"\bfinetuned_output_suffix(?= must)", "--finetuned-output-suffix"),
)


def printable(text: str) -> str:
    """Return `text` on one line, with blanks in place of control characters."""
    if not text.isprintable():
        text = "".join(char if char.isprintable() else " " for char in text)
    return " ".join(text.split())


def error_text(error: DashScopeFTError) -> str:
    """Return all that is known of an error, on one line, with options in place of Python arguments."""
    text = printable(_translated(error, str(error)))
    return f"{text} {_DOCTOR}" if isinstance(error, APIConnectionError | OutageError) else text


def short_error(error: DashScopeFTError) -> str:
    """Return the code or the type of an error, and its message."""
    code = error.code if isinstance(error, APIStatusError) else None
    message = _translated(error, str(error.args[0]) if error.args else "")
    return printable(": ".join(part for part in (code or type(error).__name__, message) if part))


def _translated(error: DashScopeFTError, text: str) -> str:
    if isinstance(error, ConfigurationError):
        for pattern, replacement in _WORDS:
            text = re.sub(pattern, replacement, text)
    return text
