"""The provider metadata for Airflow. The tests that need Airflow itself are in tests/lanes/airflow."""

from __future__ import annotations

import subprocess
import sys
import tomllib

from dashscope_ft_async.airflow import get_provider_info
from tests.support.paths import ROOT


def test_the_entry_point_names_the_function_that_returns_the_metadata() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

    entry = project["entry-points"]["apache_airflow_provider"]["provider_info"]

    assert entry == f"{get_provider_info.__module__}:{get_provider_info.__name__}"
    assert get_provider_info()["package-name"] == project["name"]


def test_reading_the_metadata_does_not_import_airflow() -> None:
    code = (
        "import dashscope_ft_async.airflow as a, sys; a.get_provider_info();"
        "sys.exit('airflow' in sys.modules)"
    )

    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False, timeout=60).returncode == 0


def test_without_airflow_an_import_says_what_to_install() -> None:
    code = (
        "import sys; sys.modules['airflow'] = None;"
        "from dashscope_ft_async.airflow import WaitForFineTuneOperator"
    )

    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, check=False, timeout=60, capture_output=True, text=True
    )

    assert ran.returncode == 1
    assert ran.stderr.endswith(
        "dashscope_ft_async.airflow needs Airflow 3: pip install 'dashscope-ft-async[airflow]'\n"
    )
