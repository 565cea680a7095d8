"""The live view: what a terminal shows while jobs run.

`display` refreshes the terminal, `losses` reads logs and `health` counts requests. The other modules do no
I/O: `state` turns what is known into short texts, `screen` arranges them with `table` or `panel`, which use
`cells` and `sparkline`.
"""
