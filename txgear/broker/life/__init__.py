"""
A job's life, and who has a hand in it: workers by what they report, peers that leave or come back, operators
by their orders, the store by what it says. L{txgear.broker.life.lifecycle} is what all of them call: read it
first. They know what has ended and what is a row only; who looks at jobs, and searches for them, they do not
know.
"""

from __future__ import annotations
