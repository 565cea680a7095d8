"""The command ``dashscope-ft``, also started by ``python -m dashscope_ft_async``."""

from __future__ import annotations


def main() -> None:
    """Run the command; Ctrl-C ends it without a traceback, also while its modules are imported."""
    try:
        from dashscope_ft_async.cli import main as run

        run()
    except KeyboardInterrupt:
        raise SystemExit(130) from None


if __name__ == "__main__":
    main()
