"""Text from the service or the user in error messages and logs."""

from __future__ import annotations

import pytest

from dashscope_ft_async.models import looks_like_api_key, redact, safe_text, safe_word

KEYS = ["sk-0123456789abcdefSECRET", "sk-sp-0123.4567_89-x", "sk-0123"]


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize(
    "around",
    ["{}", "key={}&", "'{}'", "Bearer {}, again {}", "key%3D{}", "key%3d{}", r"a\n{}", "Ключ{}", "1{}"],
)
def test_api_keys_are_replaced(key: str, around: str) -> None:
    assert redact(around.format(key, key)) == around.format("sk-***", "sk-***")
    assert looks_like_api_key(key)


@pytest.mark.parametrize(
    "text", ["", "sk-", "sk-abc", "task-", "no key here", "task-0123", "disk-full", "Risk-based"]
)
def test_other_text_is_not_changed(text: str) -> None:
    assert redact(text) == safe_text(text) == safe_word(text) == text
    assert not looks_like_api_key(text)


def test_safe_text_is_one_printable_line_of_limited_length() -> None:
    assert safe_text("a\nb\x1b[2J\u202e") == "a b [2J "
    assert safe_text("x" * 300) == "x" * 199 + "…"
    assert safe_text("x" * 300, 5) == "xxxx…"
    assert safe_text(f"{'x' * 195} {KEYS[0]}") == f"{'x' * 195} sk-…"


def test_safe_word_shows_unprintable_characters_as_escapes() -> None:
    assert safe_word("RUN\nNING\x1b[2J") == r"'RUN\nNING\x1b[2J'"
    assert len(safe_word("\n" * 999)) == 80
