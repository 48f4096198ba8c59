"""
What has ended and is still known: the dead, jobs whose results are kept, and those whose uniques stay
taken. L{txgear.broker.ended.archive} is what others call: read it first. A job comes here when its life is
over; how it came to that, and who looks at it, nobody here knows.
"""

from __future__ import annotations
