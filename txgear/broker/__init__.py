"""
Rules: what becomes of jobs. The standard library only; no clock, no disk: C{now} is an argument.

Here lies what all of it uses: jobs and their states, lanes, functions, timers, rights, records of the store.
Then each folder knows those before it only: C{ended} is what has ended, C{rows} what only the store has,
C{life} a job's life. L{txgear.broker.broker} makes all of these. After it come C{operators}, what operators
see and do to many jobs, and C{diagnosis}, why jobs wait.
"""

from __future__ import annotations
