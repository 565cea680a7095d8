"""What whoever carries on leans on: the changelog's form, the check before a release, workflows, forms."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml

from dashscope_ft_async import __version__
from tests.support.paths import ROOT

# --- the changelog ------------------------------------------------------------------------------------

CATEGORIES = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
CHANGELOG = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
HEADINGS = re.findall(r"^## (.*)$", CHANGELOG, re.MULTILINE)


def numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


def test_the_changelog_begins_with_what_is_unreleased() -> None:
    assert CHANGELOG.startswith("# Changelog\n")
    assert HEADINGS[0] == "[Unreleased]"


def test_each_release_has_a_version_and_a_day_and_the_newest_stands_first() -> None:
    releases = [re.fullmatch(r"\[(\d+\.\d+\.\d+)\] - (\d{4}-\d\d-\d\d)", one) for one in HEADINGS[1:]]

    told = [(numbers(one[1]), date.fromisoformat(one[2])) for one in releases if one]
    assert len(told) == len(releases)
    assert told == sorted(told, reverse=True)


def test_the_version_is_the_newest_release_or_the_one_to_come() -> None:
    released = [re.findall(r"\d+\.\d+\.\d+", one)[0] for one in HEADINGS[1:]]

    assert all(numbers(one) <= numbers(__version__) for one in released)


@pytest.mark.parametrize("heading", HEADINGS)
def test_a_section_sorts_its_entries_by_the_known_kinds(heading: str) -> None:
    section = CHANGELOG.split(f"## {heading}\n")[1].split("\n## ")[0]
    _, *parts = re.split(r"^### ", section, flags=re.MULTILINE)
    kinds = [part.splitlines()[0] for part in parts]

    assert set(kinds) <= CATEGORIES
    assert len(kinds) == len(set(kinds))
    for part in parts:
        entries = [line for line in part.splitlines()[1:] if line]
        assert entries
        assert all(re.match(r"- \S|  \S", line) for line in entries)


# --- the check before a release -----------------------------------------------------------------------


def checked(tmp_path: Path, changelog: str, *arguments: str) -> tuple[int, str]:
    """Exit code and text of the check, in a tree of version 1.2.0 with this changelog."""
    for folder in (".ci", "dashscope_ft_async"):
        (tmp_path / folder).mkdir()
    shutil.copy(ROOT / ".ci" / "release-check", tmp_path / ".ci")
    (tmp_path / "dashscope_ft_async" / "_version.py").write_text('__version__ = "1.2.0"\n')
    (tmp_path / "CHANGELOG.md").write_text(changelog, encoding="utf-8")
    ran = subprocess.run(
        [sys.executable, str(tmp_path / ".ci" / "release-check"), *arguments],
        capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    return ran.returncode, ran.stdout + ran.stderr


READY = "# Changelog\n\n## [Unreleased]\n\n## [1.2.0] - 2026-03-01\n\n### Added\n\n- A thing.\n"


def test_a_release_is_let_through_where_all_agree(tmp_path: Path) -> None:
    assert checked(tmp_path, READY, "v1.2.0") == (0, "1.2.0 may be released.\n")


@pytest.mark.parametrize(
    ("tag", "changelog", "told"),
    [
        ("v1.3.0", READY, "the tag is v1.3.0, and the version 1.2.0 asks for v1.2.0."),
        ("1.2.0", READY, "the tag is 1.2.0, and the version 1.2.0 asks for v1.2.0."),
        ("v1.2.0", READY.replace("1.2.0", "1.1.0"), "no section [1.2.0]"),
        ("v1.2.0", READY.replace(" - 2026-03-01", ""), "needs its date"),
        ("v1.2.0", READY.replace("2026-03-01", "1 March 2026"), "needs its date"),
        ("v1.2.0", READY.replace("2026-03-01", "20260301"), "needs its date"),
        ("v1.2.0", READY.replace("- A thing.\n", ""), "says nothing"),
        ("v1.2.0", READY.replace("[Unreleased]\n", "[Unreleased]\n\n### Fixed\n\n- Late.\n"), "move them"),
    ],
)
def test_a_release_is_stopped_where_something_disagrees(
    tmp_path: Path, tag: str, changelog: str, told: str
) -> None:
    code, text = checked(tmp_path, changelog, tag)

    assert code == 1
    assert told in text


def test_the_check_without_a_tag_says_how_it_is_called(tmp_path: Path) -> None:
    assert checked(tmp_path, READY) == (1, "usage: .ci/release-check TAG\n")


# --- workflows ----------------------------------------------------------------------------------------


def loaded(path: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / ".github" / path).read_text(encoding="utf-8"))
    return found


WORKFLOWS = {name: loaded(f"workflows/{name}.yml") for name in ("ci", "release")}


def steps_of(job: dict[str, Any], key: str) -> list[str]:
    return [step[key] for step in job["steps"] if key in step]


def commands_of(workflow: dict[str, Any]) -> set[str]:
    """The project's own commands that a workflow runs, each lane under its name."""
    jobs = list(workflow["jobs"].values())
    lanes = [job.get("strategy", {}).get("matrix", {}).get("lane", [""]) for job in jobs]
    return {
        run.replace("${{ matrix.lane }}", lane).split(" ")[0]
        for job, names in zip(jobs, lanes, strict=True)
        for run in steps_of(job, "run")
        for lane in names
    }


@pytest.mark.parametrize("name", WORKFLOWS)
def test_a_workflow_may_only_read_and_names_the_major_version_of_what_it_uses(name: str) -> None:
    workflow = WORKFLOWS[name]

    assert workflow["permissions"] == {"contents": "read"}
    for job in workflow["jobs"].values():
        assert job["timeout-minutes"] <= 30
        assert all(re.fullmatch(r"[\w-]+/[\w-]+@(v\d+|release/v\d+)", one) for one in steps_of(job, "uses"))


@pytest.mark.parametrize("name", WORKFLOWS)
def test_a_workflow_runs_commands_that_are_there(name: str) -> None:
    commands = commands_of(WORKFLOWS[name])

    assert commands
    assert {one for one in commands if not os.access(ROOT / one, os.X_OK)} == set()


def test_every_change_is_tried_on_all_versions_of_python_and_in_every_lane() -> None:
    said = re.findall(r":: (3\.\d+)", (ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    by_hand = {"interpreters", "mutation", "release-check"}
    commands = {
        f".ci/{path.name}" for path in (ROOT / ".ci").iterdir() if not path.suffix and path.is_file()
    }

    assert WORKFLOWS["ci"]["jobs"]["run"]["strategy"]["matrix"]["python"] == said
    assert commands_of(WORKFLOWS["ci"]) == commands - {f".ci/{name}" for name in by_hand}


def test_only_the_job_that_publishes_may_ask_for_a_token_and_it_runs_nothing_of_ours() -> None:
    build, publish = (WORKFLOWS["release"]["jobs"][name] for name in ("build", "publish"))

    assert "permissions" not in build
    assert publish["permissions"] == {"id-token": "write"}
    assert (publish["needs"], publish["environment"]) == ("build", "pypi")
    assert steps_of(publish, "run") == []
    assert [one.split("@")[0] for one in steps_of(publish, "uses")] == [
        "actions/download-artifact",
        "pypa/gh-action-pypi-publish",
    ]


def test_what_is_published_was_checked_first() -> None:
    build = WORKFLOWS["release"]["jobs"]["build"]

    assert steps_of(build, "run") == ['.ci/release-check "$GITHUB_REF_NAME"', ".ci/run", ".ci/package"]
    assert build["steps"][-1]["with"]["path"] == "dist/"


# --- issue forms --------------------------------------------------------------------------------------

FORMS = sorted(path.name for path in (ROOT / ".github/ISSUE_TEMPLATE").iterdir() if path.stem != "config")
REQUIRED = {
    "markdown": {"value"}, "textarea": {"label"}, "input": {"label"}, "dropdown": {"label", "options"},
    "checkboxes": {"label", "options"},
}  # fmt: skip


@pytest.mark.parametrize("name", FORMS)
def test_a_form_has_what_github_asks_of_it(name: str) -> None:
    form = loaded(f"ISSUE_TEMPLATE/{name}")
    asked = [part for part in form["body"] if part["type"] != "markdown"]

    assert form["name"]
    assert form["description"]
    assert asked
    assert all(REQUIRED[part["type"]] <= part["attributes"].keys() for part in form["body"])
    assert len({part["id"] for part in asked}) == len({part["attributes"]["label"] for part in asked})
    assert len({part["id"] for part in asked}) == len(asked)
    assert all(re.fullmatch(r"[\w-]+", part["id"]) for part in asked)


@pytest.mark.parametrize("name", FORMS)
def test_a_form_begins_and_ends_with_the_key_that_must_not_be_in_it(name: str) -> None:
    first, *_, last = loaded(f"ISSUE_TEMPLATE/{name}")["body"]

    assert first["attributes"]["value"].startswith("## ⚠️ Never paste an API key\n")
    assert last["attributes"]["options"][0] == {"label": "There is no API key in it.", "required": True}


@pytest.mark.parametrize("name", ["bug.yml", "payload.yml"])
def test_who_reports_is_asked_for_what_a_maintainer_needs(name: str) -> None:
    form = str(loaded(f"ISSUE_TEMPLATE/{name}"))

    for needed in ("`dashscope-ft --version`", "`python --version`", "aiohttp", "Region", "Request id"):
        assert needed in form


def test_every_issue_begins_with_a_form() -> None:
    assert loaded("ISSUE_TEMPLATE/config.yml") == {"blank_issues_enabled": False}
    assert FORMS == ["bug.yml", "payload.yml", "question.yml"]


def test_a_pull_request_is_told_of_the_key_first() -> None:
    text = (ROOT / ".github/PULL_REQUEST_TEMPLATE.md").read_text(encoding="utf-8")

    assert text.startswith("<!-- Never paste an API key")
    assert ".ci/run" in text
    assert "CHANGELOG.md" in text
