"""
Jobs of which only the store has the row: which these are, how rows become jobs when these are wanted, and
what has its time meanwhile. L{txgear.broker.rows.stock} is what others call: read it first. It knows the
lanes, the dispatcher and what has ended; what a job does once it is in memory again, nobody here knows.
"""

from __future__ import annotations
