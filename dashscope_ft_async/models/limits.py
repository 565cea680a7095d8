"""Every timing constant and bound of the library, each with its reason. Seconds, unless it says otherwise.

What users may want to change is not here but in `PollPolicy`, `RetryPolicy` and the arguments of
`FineTuneClient`.
"""

from __future__ import annotations

from typing import Final

# --- one request --------------------------------------------------------------------------------------

CONNECT_TIMEOUT: Final = 10.0
"""Longest time to make a connection. A host that needs longer is down or filtered."""
DEAD_PEER: Final = 15.0
"""A connection whose peer acknowledges nothing for this long is dead (Linux). A slow answer is not: it has
the whole `timeout` of the client."""
HEADER_SIZE_LIMIT: Final = 65_536
"""Bytes of one header line; networks of companies add long ones."""
HEADER_COUNT_LIMIT: Final = 1000
"""Header lines of one answer."""
KEEP_ALIVE: Final = 75.0
"""Idle connections are kept this long. Polls come up to 36 s apart, and a new connection costs more than
the request; aiohttp's own 15 s would reconnect for each poll."""
DNS_TTL: Final = 300
"""A resolved name is used this long, unless a connection to it fails."""
CONNECTIONS: Final = 160
"""Connections of one client: `POLLS_AT_ONCE` + `CALLS_AT_ONCE` + `STREAMS_AT_ONCE`, and some spare."""
RETRY_AFTER_CEILING: Final = 300.0
"""A longer Retry-After is cut to this inside a wait; then one poll probes."""
CALL_RETRY_AFTER: Final = 60.0
"""A single call does not sit out a longer Retry-After: it raises, since its caller can decide better."""

# --- requests in flight -------------------------------------------------------------------------------

POLLS_AT_ONCE: Final = 32
"""Polls in flight. More would not be faster on one connection pool, and would all be refused together."""
CALLS_AT_ONCE: Final = 64
"""Requests of single calls in flight, so that polls always find a free connection."""
STREAMS_AT_ONCE: Final = 50
"""Event streams at once: each holds a connection for hours."""
PAGES_AT_ONCE: Final = 4
"""List pages in flight. A page is up to 100 KB to parse; more at once would delay everything else."""
STREAM_SILENCE: Final = 60.0
"""An event stream without a byte for this long is left, and pages of the log are read instead."""

# --- the rate gate ------------------------------------------------------------------------------------

RATE_CUT: Final = 0.7
"""After a 429 the rate is this share of what was sent before: enough to be below the limit at once."""
RATE_RISE: Final = 1.0
"""Requests per second gained for each second of good answers. Additive increase and multiplicative
decrease let clients that share one limit converge to equal shares."""
LONGEST_RISE: Final = 30.0
"""A pause counts for at most this long when the rate rises: silence proves little about the limit."""
LOWEST_RATE: Final = 1.0
"""Requests per second that are always tried: below it a client would take hours to recover."""
RATE_MEMORY: Final = 1000
"""Sent requests remembered to know the rate of the last second; a higher rate counts as unlimited."""

# --- a wait -------------------------------------------------------------------------------------------

DAY: Final = 86_400.0
"""Default `timeout` of a wait."""
LAST_POLL: Final = 2.0
"""Time for the one poll that is made when a deadline cuts a sleep short. Waits of one job whose deadlines
fall within this time of each other share it."""
SECOND_LOOK_WITHOUT_NAME: Final = 2.0
"""Pause before a SUCCEEDED job without `finetuned_output` is fetched again."""
LOOKS_WITHOUT_NAME: Final = 2
"""How often it is fetched again. Then the job is returned as it is."""
LEAST_OUTAGE_FAILURES: Final = 4
"""Polls that must have failed before a wait ends in `OutageError`."""
TIMER_SLACK: Final = 0.001
"""Timers fire a little early: what is due within this time is due."""
FIRST_HEARTBEAT: Final = 60.0
"""A line in the log says what is waited for after this time, then after twice the time, and so on."""
SLOWEST_HEARTBEAT: Final = 3600.0
"""The longest time between two of these lines."""

# --- list pages ---------------------------------------------------------------------------------------

PAGE_SIZES: Final = (10, 20, 50, 100)
"""Sizes of pages to choose from; the service's documented maximum is 100."""
PAGE_IS_WORTH: Final = 3
"""Due jobs that a page must be expected to show. It replaces that many GETs by one request."""
PAGE_TIMEOUT: Final = 5.0
"""Longest time for one page. A slower list costs more lag than it saves requests."""
PLAN_INTERVAL: Final = 0.5
"""Least time between two looks over all watches for a sweep: with many watches a look costs more than
some polls."""
OWN_GET_UNPROVEN: Final = 300.0
"""While the list is unproven, each job gets a GET at least this often, whatever the pages show."""
OWN_GET_SHARE: Final = 0.1
"""Afterwards it gets one after this share of the wait's age, …"""
OWN_GET_LONGEST: Final = 3600.0
"""… never under `OWN_GET_UNPROVEN` and never over this. It bounds how late a frozen list makes an end."""
AGREEMENTS_FOR_PROOF: Final = 5
"""Agreements in a row, each of a list row with a GET, that prove the list."""
SAMPLE_EVERY: Final = 20
"""Of the ends that a proven list shows, one in this many is confirmed by a GET."""
DISAGREEMENTS_ALLOWED: Final = 1
"""One more disagreement than this, and the list is given up for this client."""
UNLISTED_PAUSE: Final = 60.0
"""A job that was on no page is not looked for in the list for this time, then for twice the time, …"""
LIST_REFUSED_PAUSE: Final = 3600.0
"""A list that answers 401, 403, 404 or 405 is not requested for this time."""
LIST_TROUBLE_PAUSE: Final = 30.0
"""A list that fails otherwise is not requested for this time, then for twice the time, …"""
LONGEST_LIST_PAUSE: Final = 3600.0
"""… up to this."""
REMEMBERED_ENDS: Final = 1000
"""Ended jobs remembered, so that a page that shows one of them as running is noticed."""

# --- logs ---------------------------------------------------------------------------------------------

LOG_PAGE_LINES: Final = 1000
"""Lines of one log page; the service's documented maximum."""
FAILURE_LOG_TIMEOUT: Final = 10.0
"""Longest time to fetch the last log lines of a failed job for its error."""
