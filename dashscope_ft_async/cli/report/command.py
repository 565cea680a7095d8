"""The command `report`."""

from __future__ import annotations

import asyncio
import io
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from typing import Any

import attrs
import click
from rich.console import Console

from dashscope_ft_async import FineTuneClient
from dashscope_ft_async.cli import terminal as view
from dashscope_ft_async.cli.exit_codes import ExitCode as Exit
from dashscope_ft_async.cli.exit_codes import exit_code_of as exit_of
from dashscope_ft_async.cli.exit_codes import most_serious
from dashscope_ft_async.cli.exit_codes import resume_command as go_on_line
from dashscope_ft_async.cli.follow import follow
from dashscope_ft_async.cli.job_ids import JobSelection as Targets
from dashscope_ft_async.cli.job_ids import many_jobs
from dashscope_ft_async.cli.live.health import Health
from dashscope_ft_async.cli.options import WAIT_TIMEOUT as DAY
from dashscope_ft_async.cli.options import ServiceOptions as Access
from dashscope_ft_async.cli.options import check_finite as seconds
from dashscope_ft_async.cli.options import run_async as run_to_exit
from dashscope_ft_async.cli.options import service_options as access_options
from dashscope_ft_async.cli.output import write_event
from dashscope_ft_async.cli.record import Record
from dashscope_ft_async.cli.report.collect import Collected, collect
from dashscope_ft_async.cli.report.facts import Facts
from dashscope_ft_async.cli.report.files import check, replace
from dashscope_ft_async.cli.report.patience import Patience
from dashscope_ft_async.cli.report.recorded import read
from dashscope_ft_async.cli.report.words import some
from dashscope_ft_async.cli.tracker import JobTracker as Board
from dashscope_ft_async.cli.views import open_views as shown
from dashscope_ft_async.cli.views import terminals
from dashscope_ft_async.errors import ConfigurationError, WaitTimeoutError

_OF_THE_EXTRA = ("jinja2", "vl_convert")


@attrs.define
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
    this_wait: io.StringIO = attrs.field(init=False, factory=io.StringIO)
    """Its record."""
    facts: Facts | None = attrs.field(init=False, default=None)

    def run(self) -> Exit:
        """Look at the jobs, or wait for their ends, and write the files."""
        code = run_to_exit(self._gather, self.console, as_json=self.options.as_json)
        try:
            # Within the loop, Ctrl-C would be heard only when all is drawn.
            if self.facts is not None:
                self._write(self.facts)
        except KeyboardInterrupt:
            return Exit.INTERRUPTED
        except ConfigurationError as error:
            view.print_error(self.console, error)
            return exit_of(error)
        return code

    async def _gather(self) -> Exit:
        recorder, health = Record(self.this_wait, self.console), Health(time.monotonic)
        patience = Patience((self.timeout or DAY) if self.wait else self.timeout)
        async with self.options.client([recorder, health] if self.wait else ()) as client:
            self.board.add(await self._ids(client, patience), time.monotonic())
            job_ids = self.board.pending
            if not job_ids:
                click.echo("No jobs to report.", err=True)
                return Exit.SUCCEEDED
            if self.wait:
                json = self.options.as_json
                async with shown(self.board, self.console, client, health, as_json=json) as views:
                    await follow(client, self.board, job_ids, [*views, recorder], timeout=patience.left)
                patience = Patience(None)
            else:
                await self._look(client, patience)
                patience.renew()
            # What is asked from here on is no part of the wait.
            self.this_wait = io.StringIO(self.this_wait.getvalue())
            recorded = read([*self.lines, *self.this_wait.getvalue().splitlines()])
            with self._progress(len(job_ids)) as done:
                collected = await collect(client, self.board.rows.values(), recorded, patience, done)
        self.facts = Facts(
            made_at=datetime.now(UTC),
            jobs=[each.facts for each in collected],
            wait=recorded.wait if self.lines or self.wait else None,
        )
        return self._exit(collected)

    async def _ids(self, client: FineTuneClient, patience: Patience) -> Sequence[str]:
        if self.targets.ids is not None:
            return self.targets.ids
        return await patience.answer(partial(self.targets.find, client))

    async def _look(self, client: FineTuneClient, patience: Patience) -> None:
        limit = asyncio.timeout(patience.left)
        try:
            async with limit:
                await follow(client, self.board, self.board.pending, (), timeout=0)
        except TimeoutError:
            if not limit.expired():
                raise

    def _exit(self, collected: Sequence[Collected]) -> Exit:
        errors = [error for each in collected for error in each.errors]
        of_waits = [row.error for row in self.board.rows.values() if row.error is not None]
        for error in errors:
            # The views of a wait have told what ended it.
            if not (self.wait and any(error is told for told in of_waits)):
                view.print_error(self.console, error)
        timed_out = [error for error in of_waits if isinstance(error, WaitTimeoutError)]
        return most_serious(map(exit_of, [*errors, *(timed_out if self.wait else ())]))

    def _write(self, facts: Facts) -> None:
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
        words = [*self.options.to_arguments(), "--wait"]
        words += [] if self.timeout is None else ["--timeout", f"{self.timeout:.15g}"]
        for path in self.files:
            words += ["--output", str(path)]
        words += [] if self.theme == "light" else ["--theme", self.theme]
        for path in self._kept():
            words += ["--record", str(path)]
        ids = list(self.board.rows) or self.targets.ids
        return go_on_line("report", words if ids is not None else [*words, "--all"], ids or ())

    def _kept(self) -> Sequence[Path]:
        """The records to go on with: what was seen so far becomes one."""
        path, seen = self.files[0].with_suffix(".wait.jsonl"), self.this_wait.getvalue()
        if not seen:
            return self.records
        try:
            with path.open("a", encoding="ascii") as record:
                record.write(seen)
        except OSError as error:
            click.echo(f"error: the wait could not be kept in {path}: {error.strerror}", err=True)
            return self.records
        return self.records if path in self.records else [*self.records, path]


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


def _recorded(lines: Sequence[bytes]) -> Targets:
    job_ids = read(lines).job_ids
    if not job_ids:
        raise click.BadParameter("no job in the record.", param_hint="--record")
    return Targets(job_ids)


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
    type=click.FloatRange(min=0, min_open=True),
    callback=seconds,
    metavar="SECONDS",
    help="With --wait: stop waiting after so many seconds, 86400 by default. Else: write what was read in "
    "so many; by default it goes on until nothing good came for 60.",
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
    _check_extra()
    check(files)
    lines = _lines_of(records)
    of_records = bool(records) and not job_ids and not every
    reporting = _Reporting(
        targets=_recorded(lines) if of_records else Targets.of(job_ids, every),
        options=Access(**access),
        files=files,
        theme=theme,
        records=records,
        lines=lines,
        wait=wait,
        timeout=timeout,
    )
    with view.logs(reporting.console, reporting.options.log_level):
        code = reporting.run()
    if code is Exit.INTERRUPTED and wait:
        click.echo("Interrupted; the jobs go on. To go on with the report:", err=True)
        click.echo(f"  {reporting.again()}", err=True)
    raise SystemExit(code)
