"""
Figures of the server for programs: served to Prometheus, sent to OpenTelemetry or statsd.
"""

from __future__ import annotations
