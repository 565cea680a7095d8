"""The fault table: every way an answer can go wrong, what a careful user wants then, and what is done.

`rows` is the table as data; `adversary` is the raw server that plays a row; `runner` lets one contender
wait on it; `judging` compares what was seen with what was wanted. ``python -m bench.faults`` runs every
row against every contender; the suite runs every row against ours.
"""
