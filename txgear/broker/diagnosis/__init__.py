"""
Why jobs wait, in sentences: L{txgear.broker.diagnosis.diagnosis} asks one look after the other what it finds.
It knows the whole broker and what operators see of it, and nobody in the broker knows it.
"""

from __future__ import annotations
