"""The programs of docs/how-to/use-with-temporal.md, run as files of a user."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from pathlib import Path

from dashscope_ft_async.testing import Simulator
from tests.conftest import KEY

PAGE = Path(__file__).parents[3] / "docs/how-to/use-with-temporal.md"


async def test_the_programs_of_the_page_run(service: Simulator, server: str, tmp_path: Path) -> None:
    for name, text in re.findall(r"```python\n# (\S+)\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL):
        (tmp_path / name).write_text(text.replace("127.0.0.1:7233", server), "utf-8")
    env = {**os.environ, "DASHSCOPE_API_KEY": KEY, "DASHSCOPE_BASE_URL": service.base_url}
    job_id = service.add_job([(0, "FAILED")], message="no data")

    async def program(*words: str) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            sys.executable, *words, cwd=tmp_path, env=env, stdout=asyncio.subprocess.PIPE
        )

    worker = await program("worker.py")
    try:
        started = await program("start.py", job_id)
        printed, _ = await asyncio.wait_for(started.communicate(), 30)
    finally:
        worker.kill()
        await worker.communicate()

    assert printed.decode().split(maxsplit=3) == [job_id, "FAILED", "None", "no data\n"]
