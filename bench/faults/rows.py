"""The fault table as data: what the service does, and what a careful user wants then.

Unless a row says otherwise, the first answer shows the job RUNNING, then comes what went wrong, then the
job SUCCEEDED; the last answer of a row is given to all later requests. `_connections`, `_answers` and
`_words` have the rows, by where on its way an answer goes wrong.
"""

from __future__ import annotations

from bench.faults._answers import ANSWERS
from bench.faults._connections import CONNECTIONS
from bench.faults._row import ELSEWHERE, Row
from bench.faults._words import WORDS

__all__ = ["ELSEWHERE", "ROWS", "Row"]

ROWS: tuple[Row, ...] = (*CONNECTIONS, *ANSWERS, *WORDS)
