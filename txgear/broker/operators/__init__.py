"""
What operators see: jobs, functions, workers and connections, in pages; and what they do to all jobs that a
search is for. L{txgear.broker.operators.inspection} is what most call: read it first. It knows the whole
broker, which knows nothing of it: a job goes its way whether somebody looks or not.
"""

from __future__ import annotations
