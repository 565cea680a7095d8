"""The rooms of the house by floors, from the table that the suite holds against the imports."""

from __future__ import annotations

from tests.project.test_architecture import FLOORS

_ABOUT = {
    "cli": "the command `dashscope-ft`",
    "testing": "the simulator, and fixtures for pytest",
    "otel": "traces and metrics",
    "airflow": "waits in Airflow",
    "_airflow_provider": "what Airflow asks of a provider",
    "temporal": "activities and a workflow for Temporal",
    "client": "the public methods; composes what is below",
    "_crowd": "many waits in the order of their ends",
    "_follow": "a log as it grows",
    "hub": "the driver of all waits",
    "_telling": "events for the user's hooks",
    "session": "HTTP",
    "_retrying": "one call tried again",
    "_lister": "pages of the list",
    "_turns": "requests beside the waits",
    "gate": "when requests go out",
    "_journal": "the log",
    "_roster": "what pages are worth",
    "_watch": "what the hub keeps",
    "_wire": "what bytes mean",
    "policy": "what to do next",
    "_settings": "where to ask, and as whom",
    "_tail": "a place in a log",
    "_checks": "bad input",
    "hooks": "what hooks are told",
    "models": "snapshots",
    "errors": "what is raised",
    "_text": "what of a text may be shown",
    "_version": "the version",
}


def part() -> str:
    """A row for each floor, the highest first, with its rooms."""
    rows = ["| floor | rooms |", "| --- | --- |"]
    for number, rooms in reversed(list(enumerate(FLOORS))):
        named = [f"**`{room}`** {_ABOUT[room]}" for room in _ABOUT if room in rooms]
        assert len(named) == len(rooms), f"a room of floor {number} is not in docs_parts/floors.py"
        rows.append(f"| {number} | {' · '.join(named)} |")
    return "\n".join(rows)
