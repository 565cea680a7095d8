"""What a person at a terminal sees while jobs run.

`display` keeps it in place. `losses` reads logs and `health` is told of requests; the rest is pure: `facts`
puts into words what is known, `screen` says what goes where, in `table` or `panel`, by `cells` and
`sparkline`.
"""
