"""A job server for which a second is long: it looks at workers and sends metrics more often than others."""

from __future__ import annotations

from typing import Any

from twisted.scripts.twistd import run

import txgear.broker.operators.workforce
import txgear.server.census
import txgear.web.metrics.statsd

workforce: Any = txgear.broker.operators.workforce
workforce.SILENT_SECONDS = 1.0
census: Any = txgear.server.census
census.PERIOD = 0.3
statsd: Any = txgear.web.metrics.statsd
statsd.SECONDS = 0.3

run()
