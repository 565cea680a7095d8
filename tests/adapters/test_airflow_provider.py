"""What Airflow is told of this package; tests/lanes/airflow has what needs Airflow itself."""

from __future__ import annotations

import subprocess
import sys
import tomllib

from dashscope_ft_async.airflow.provider import get_provider_info
from tests.support.paths import ROOT


def test_the_entry_point_leads_to_the_metadata_and_the_names_agree() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

    entry = project["entry-points"]["apache_airflow_provider"]["provider_info"]

    assert entry == f"{get_provider_info.__module__}:{get_provider_info.__name__}"
    assert get_provider_info()["package-name"] == project["name"]


def test_reading_the_metadata_imports_no_airflow() -> None:
    code = "import dashscope_ft_async.airflow.provider, sys; sys.exit('airflow' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False, timeout=60).returncode == 0
