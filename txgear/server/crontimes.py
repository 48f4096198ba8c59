"""
The times of cron lines, as Debian's cron has them, also on days when clocks are changed.

cronsim says which times of day a line matches. At which moments the wall clock shows them is worked out
here: cronsim takes each change for one of an hour (on Lord Howe Island it is half of one), and loses times
of lines such as C{0 */6 * * *}.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone, tzinfo
from typing import Final
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError
from cronsim.cronsim import Field

UTC: Final = "UTC"
"""The time zone where none is named."""

_FIELDS: Final = (
    (Field.MINUTE, "minute", "0 to 59"),
    (Field.HOUR, "hour", "0 to 23"),
    (Field.DAY, "day of the month", "1 to 31, L or LW"),
    (Field.MONTH, "month", "1 to 12 or JAN to DEC"),
    (Field.DOW, "day of the week", "0 to 7 or SUN to SAT"),
)
"""What a line has, in this order, and what may stand there."""
_WORDS: Final = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
"""Lines that cron has words for, and what they are here."""
_DAY: Final = 86400.0
_SOME_DAY: Final = datetime(2000, 1, 1, tzinfo=timezone.utc)


def check_cron(text: str) -> str:
    """
    @param text: minute, hour, day of the month, month and day of the week, as in Debian's crontab.
    @return: the same.
    @raise ValueError: it is no such line, or its time never comes.
    """
    parts = text.split()
    if len(parts) != 5:
        same = _WORDS.get(text)
        meant = "" if same is None else f", which is {same!r}"
        raise ValueError(f"five fields are wanted, as in '30 2 * * MON-FRI', not {text!r}{meant}")
    for (field, name, values), part in zip(_FIELDS, parts, strict=True):
        try:
            field.parse(part.upper())
        except CronSimError as error:
            wanted = f"{values} are wanted, and ranges go upwards"
            raise ValueError(f"bad {name} {part!r} in {text!r}: {wanted}") from error
    try:
        next(CronSim(text, _SOME_DAY))
    except (CronSimError, StopIteration):
        raise ValueError(f"there is no such day, it would never run: {text!r}") from None
    return text


def check_timezone(name: str) -> str:
    """
    @param name: as in the IANA time zone database, such as C{Europe/Berlin}.
    @return: the same.
    @raise ValueError: there is no such time zone.
    """
    try:
        zone_of(name)
    except (KeyError, ValueError, OSError) as error:
        raise ValueError(f"there is no time zone {name!r}; one such as 'Europe/Berlin' is wanted") from error
    return name


def zone_of(name: str) -> tzinfo:
    """The time zone of a name that L{check_timezone} has taken."""
    return timezone.utc if name == UTC else ZoneInfo(name)


def follows(cron: str) -> bool:
    """Whether a line follows real time: see L{times}."""
    return any(field.startswith("*") for field in cron.split()[:2])


def clock_changes(zone_name: str, after: float, until: float) -> Iterator[float]:
    """When the clock of a zone is put forward or back, in seconds since the epoch, the earliest first."""
    zone = zone_of(zone_name)
    day = after
    while day < until and zone is not timezone.utc:
        if _offset(datetime.fromtimestamp(day, zone)) != _offset(datetime.fromtimestamp(day + _DAY, zone)):
            yield _changed(zone, day, day + _DAY)
        day += _DAY


def times(cron: str, zone_name: str, after: float) -> Iterator[float]:
    """
    When a line runs, in seconds since the epoch, the earliest first, beginning after that time.

    A line whose minute or hour begins with C{*} follows real time: what the clock skips it does not
    run for, and what the clock shows twice it runs for twice. Any other one runs once for each time: for
    one that is skipped as soon as the clock has been put forward, for one that comes twice the first time.

    @param cron: see L{check_cron}.
    @param zone_name: see L{check_timezone}.
    """
    zone = zone_of(zone_name)
    follows_clock = follows(cron)
    here = datetime.fromtimestamp(after, zone)
    # If the clock is about to be put back, some of what it has shown already will come again.
    back = max(_offset(here) - _offset(datetime.fromtimestamp(after + _DAY, zone)), timedelta())
    latest = after
    second_times: deque[float] = deque()
    for face in CronSim(cron, here.replace(tzinfo=timezone.utc) - back):
        shown = face.replace(tzinfo=zone)
        moment = shown.timestamp()
        if not _is_shown(shown):
            if follows_clock:
                continue
            moment = _put_forward(shown)
        elif follows_clock:
            second_times.append(shown.replace(fold=1).timestamp())
        while second_times and second_times[0] < moment:
            if second_times[0] > latest:
                yield second_times[0]
            latest = max(latest, second_times.popleft())
        if moment > latest:
            latest = moment
            yield moment


def _offset(shown: datetime) -> timedelta:
    return shown.utcoffset() or timedelta()


def _is_shown(shown: datetime) -> bool:
    """Whether the clock ever shows that."""
    return datetime.fromtimestamp(shown.timestamp(), shown.tzinfo).replace(fold=0) == shown.replace(fold=0)


def _put_forward(shown: datetime) -> float:
    """When the clock was put forward past this time, which it does not show."""
    # As if it had been done before, and as if it had not yet.
    return _changed(shown.tzinfo, shown.replace(fold=1).timestamp(), shown.timestamp())


def _changed(zone: tzinfo | None, before: float, after: float) -> float:
    """When the clock is changed between two moments, which is once."""
    offset = _offset(datetime.fromtimestamp(after, zone))
    while after - before > 1.0:
        middle = (before + after) // 2
        if _offset(datetime.fromtimestamp(middle, zone)) == offset:
            after = middle
        else:
            before = middle
    return after
