"""Where the command ``dashscope-ft`` starts: outside the package, since its import takes a while."""

from __future__ import annotations


def main() -> None:
    """Run the command; Ctrl-C ends it without a traceback from its first moment on."""
    try:
        from dashscope_ft_async.cli import main as command

        command()
    except KeyboardInterrupt:
        raise SystemExit(130) from None
