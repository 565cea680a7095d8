"""The fault table: ways in which a response can go wrong, and what each client does then.

`ROWS` is the table as data; `runner` lets one client wait for the job of a row; `judging` compares what it
did with what is expected. ``python -m bench.faults`` runs all rows for three clients and writes the table.
The tests run all rows for this library.
"""

from bench.faults.connections import CONNECTIONS
from bench.faults.jobs import JOBS
from bench.faults.responses import RESPONSES
from bench.faults.row import Row

__all__ = ["ROWS", "Row"]

ROWS: tuple[Row, ...] = (*CONNECTIONS, *RESPONSES, *JOBS)
