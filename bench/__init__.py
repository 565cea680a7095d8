"""Measure this library beside the other ways to wait for fine-tune jobs: ``python -m bench``.

`server` is the service, in a process of its own; `contenders` are the ways to wait; `scenarios` is what is
measured of them, each in a fresh process; `report` is what is made of the numbers.
"""
