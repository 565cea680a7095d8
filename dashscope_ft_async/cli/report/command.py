"""The command `report`."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from typing import Any

import attrs
import click
from rich.console import Console

from dashscope_ft_async.cli import view
from dashscope_ft_async.cli.access import DAY, Access, access_options, run_to_exit, seconds
from dashscope_ft_async.cli.board import Board
from dashscope_ft_async.cli.follow import follow
from dashscope_ft_async.cli.lines import write_event
from dashscope_ft_async.cli.live.health import Health
from dashscope_ft_async.cli.outcome import Exit, exit_of, go_on_line, most_serious
from dashscope_ft_async.cli.record import Record
from dashscope_ft_async.cli.report.collect import Collected, collect
from dashscope_ft_async.cli.report.facts import Facts
from dashscope_ft_async.cli.report.files import check, replace
from dashscope_ft_async.cli.report.recorded import Recorded, read
from dashscope_ft_async.cli.report.words import some
from dashscope_ft_async.cli.show import shown, terminals
from dashscope_ft_async.cli.targets import Targets, many_jobs
from dashscope_ft_async.errors import WaitTimeoutError

_OF_THE_EXTRA = ("jinja2", "vl_convert")


@attrs.frozen
class _Reporting:
    """A report, as it was asked for."""

    targets: Targets
    options: Access
    files: Sequence[Path]
    theme: str
    records: Sequence[Path]
    lines: Sequence[bytes]
    """Those of the records."""
    wait: bool
    timeout: float | None
    board: Board = attrs.field(init=False, factory=Board)
    console: Console = attrs.field(init=False, factory=lambda: Console(stderr=True))

    async def run(self) -> Exit:
        """Look at the jobs, or wait for their ends, and write the files."""
        this_wait = io.StringIO()
        recorder, health = Record(this_wait, self.console), Health(time.monotonic)
        async with self.options.client([recorder, health] if self.wait else ()) as client:
            self.board.add(await self.targets.find(client), time.monotonic())
            job_ids = self.board.pending
            if self.wait:
                json = self.options.as_json
                async with shown(self.board, self.console, client, health, as_json=json) as views:
                    await follow(client, self.board, job_ids, [*views, recorder], timeout=self.timeout)
            else:
                await follow(client, self.board, job_ids, (), timeout=0)
            # What is asked from here on is no part of the wait.
            recorded = read([*self.lines, *this_wait.getvalue().splitlines()])
            with self._progress(len(job_ids)) as done:
                collected = await collect(client, self.board.rows.values(), recorded, done)
        self._write(collected, recorded)
        return self._exit(collected)

    def _exit(self, collected: Sequence[Collected]) -> Exit:
        errors = [error for each in collected for error in each.errors]
        if not self.wait:
            for error in errors:
                view.complain(self.console, error)
        timed_out = [
            row.error for row in self.board.rows.values() if isinstance(row.error, WaitTimeoutError)
        ]
        return most_serious(map(exit_of, [*errors, *(timed_out if self.wait else ())]))

    def _write(self, collected: Sequence[Collected], recorded: Recorded) -> None:
        facts = Facts(
            made_at=datetime.now(UTC),
            jobs=[each.facts for each in collected],
            wait=recorded.wait if self.lines or self.wait else None,
        )
        for path in self.files:
            replace(path, _content(path, facts, self.theme))
            if self.options.as_json:
                write_event("report", None, path=str(path), jobs=len(facts.jobs))
            else:
                click.echo(f"{path}: {some(len(facts.jobs), 'job')}")

    @contextmanager
    def _progress(self, jobs: int) -> Generator[Callable[[], None], None, None]:
        if not terminals().stderr:
            yield lambda: None
            return
        with self.console.status(f"Reading {some(jobs, 'job')}") as status:
            number = count(1)
            yield lambda: status.update(f"Reading {some(jobs, 'job')}, {next(number)} done")

    def again(self) -> str:
        """The command that goes on after Ctrl-C: for all jobs, since the report is about all."""
        words = [*self.options.words(), "--wait"]
        words += [] if self.timeout == DAY else ["--timeout", f"{self.timeout:.15g}"]
        for path in self.files:
            words += ["--output", str(path)]
        words += [] if self.theme == "light" else ["--theme", self.theme]
        for path in self.records:
            words += ["--record", str(path)]
        return go_on_line("report", words, self.board.rows)


def _content(path: Path, facts: Facts, theme: str) -> bytes:
    from dashscope_ft_async.cli.report import charts, colours, draw, page

    if path.suffix.lower() == ".html":
        return page.page_of(facts).encode()
    spec = charts.picture(facts, colours.THEMES[theme], page.title_of(facts))
    return draw.png(spec) if path.suffix.lower() == ".png" else draw.svg(spec).encode()


def _check_extra() -> None:
    for name in _OF_THE_EXTRA:
        if find_spec(name) is None:
            needs = f"dashscope-ft report needs {name}: pip install 'dashscope-ft-async[cli,report]'"
            click.echo(needs, err=True)
            raise SystemExit(Exit.USAGE)


def _lines_of(paths: Sequence[Path]) -> list[bytes]:
    lines: list[bytes] = []
    for path in paths:
        try:
            lines += path.read_bytes().splitlines()
        except OSError as error:
            raise click.BadParameter(f"{path}: {error.strerror}.", param_hint="--record") from None
    return lines


@click.command(
    short_help="Write a page or a picture about jobs.",
    epilog="Exit codes: 0 written, and all jobs were read, whatever became of them; else it is written "
    "too: 2 usage, 4 timed out, 5 refused, 6 unreachable; 130 interrupted.",
)
@many_jobs
@access_options
@click.option(
    "-o",
    "--output",
    "files",
    type=click.Path(path_type=Path),
    multiple=True,
    default=[Path("report.html")],
    metavar="FILE",
    help="Write to FILE, by its ending a page (.html) or a picture (.svg, .png); may be given again. "
    "Else report.html.",
)
@click.option(
    "--theme",
    type=click.Choice(["light", "dark"]),
    default="light",
    show_default=True,
    help="Colours of pictures; a page follows whoever looks at it.",
)
@click.option(
    "--record",
    "records",
    type=click.Path(path_type=Path),
    multiple=True,
    metavar="FILE",
    help="Tell of the wait that wait --record wrote to FILE; may be given again.",
)
@click.option("--wait", is_flag=True, help="First wait until all jobs have ended, and tell of that wait.")
@click.option(
    "--timeout",
    type=click.FloatRange(min=0),
    callback=seconds,
    metavar="SECONDS",
    help="With --wait: stop waiting after so many seconds, 86400 by default.",
)
def report(
    job_ids: Sequence[str],
    every: bool,
    files: Sequence[Path],
    theme: str,
    records: Sequence[Path],
    wait: bool,
    timeout: float | None,
    **access: Any,
) -> None:
    """Write a page about jobs: their timeline, losses, tokens, and the polls and faults of a wait.

    The page is one file that loads nothing, to be kept or attached to a ticket. ID may be - for ids on
    stdin; without ids it is about the jobs of the records. It tells how the jobs are now, unless it is to
    --wait for their ends.

    The key is read from DASHSCOPE_API_KEY or ~/.dashscope/api_key, and is in none of the files.
    """
    if timeout is not None and not wait:
        raise click.UsageError("--timeout goes with --wait.")
    _check_extra()
    check(files)
    lines = _lines_of(records)
    of_records = bool(records) and not job_ids and not every
    reporting = _Reporting(
        targets=Targets(read(lines).job_ids) if of_records else Targets.of(job_ids, every),
        options=Access(**access),
        files=files,
        theme=theme,
        records=records,
        lines=lines,
        wait=wait,
        timeout=DAY if timeout is None else timeout,
    )
    with view.logs(reporting.console, reporting.options.log_level):
        code = run_to_exit(reporting.run, reporting.console)
    if code is Exit.INTERRUPTED and wait and reporting.board.rows:
        click.echo("Interrupted; the jobs go on. To go on with the report:", err=True)
        click.echo(f"  {reporting.again()}", err=True)
    raise SystemExit(code)
