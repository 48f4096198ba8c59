"""Tests of L{txgear.web.pages.charts}."""

from __future__ import annotations

import re
from xml.etree import ElementTree

from twisted.trial.unittest import SynchronousTestCase

from txgear.broker.counts import BUCKETS, bucket
from txgear.web.pages import charts
from txgear.web.pages.charts import Bar, Line, Values

HOSTILE = "<b onclick='x'>&\"\N{RIGHT-TO-LEFT OVERRIDE}"


def counted(*times: float) -> list[int]:
    """A histogram of these."""
    found = [0] * BUCKETS
    for seconds in times:
        found[bucket(seconds)] += 1
    return found


class SparklineTests(SynchronousTestCase):
    def path(self, *values: float | None) -> str:
        tree = ElementTree.fromstring(charts.sparkline(values, "x"))
        return tree.findall("path")[0].attrib["d"]

    def test_a_line(self) -> None:
        self.assertEqual(self.path(0, 7, 14, 7), "M0 15l1-7l1-7l1 7")

    def test_what_stays_the_same_is_said_once(self) -> None:
        self.assertEqual(self.path(*[0] * 30, 1, 1, 1), "M0 15h29l1-14h2")

    def test_a_gap_where_nobody_looked(self) -> None:
        self.assertEqual(self.path(0, 1, None, None, 1, 1), "M0 15l1-14M4 1h1")

    def test_one_alone_can_be_seen(self) -> None:
        self.assertEqual(self.path(None, 1, None), "M1 1h1")
        self.assertEqual(self.path(1), "M0 1h1")
        self.assertEqual(self.path(0, 14, None), "M0 15l1-14")

    def test_nothing(self) -> None:
        self.assertEqual(self.path(), "")
        self.assertEqual(self.path(None, None), "")
        self.assertEqual(self.path(0, 0), "M0 15h1")

    def test_it_says_what_it_is(self) -> None:
        found = charts.sparkline([1, 2], HOSTILE)
        tree = ElementTree.fromstring(found)
        self.assertEqual(tree.findtext("title"), HOSTILE)
        self.assertEqual((tree.attrib["role"], tree.attrib["viewBox"]), ("img", "0 0 1 16"))
        self.assertNotIn("style=", found)

    def test_it_is_short(self) -> None:
        values = [float(place * 7919 % 101) for place in range(60)]
        self.assertLess(len(charts.sparkline(values, "jobs ended a second: now 3.2, at most 12")), 450)


class FewerTests(SynchronousTestCase):
    def fewer(self, *values: float | None) -> list[float | None]:
        return charts.fewer(values, 3, max)

    def test_the_last_are_whole(self) -> None:
        self.assertEqual(self.fewer(9, 1, 2, 3, 4, 5, 6), [9, 3, 6])
        self.assertEqual(self.fewer(1, 2, 3, 4, 5, 6), [3, 6])

    def test_what_is_not_there_does_not_count(self) -> None:
        self.assertEqual(self.fewer(None, None, None, None, 5, None), [None, 5])
        self.assertEqual(charts.fewer([None, 2, 4], 3, charts.mean), [3])

    def test_none(self) -> None:
        self.assertEqual(self.fewer(), [])


class TopTests(SynchronousTestCase):
    def test_a_round_number_above(self) -> None:
        for value, top in (
            (0, 1),
            (0.3, 0.5),
            (1, 1),
            (1.1, 2),
            (5, 5),
            (7, 10),
            (1234, 2000),
            (0.0021, 0.005),
        ):
            self.assertAlmostEqual(charts.round_top(value), top)

    def test_the_highest(self) -> None:
        self.assertEqual(charts.highest([None, 3, 1]), 3)
        self.assertEqual(charts.highest([None]), 0)


class TimeChartTests(SynchronousTestCase):
    def chart(self, *lines: Values) -> ElementTree.Element:
        named = [Line("x", values) for values in lines]
        return ElementTree.fromstring(charts.time_chart(named, HOSTILE, "10 <a second>", 10, 6))

    def test_each_line_is_told_from_the_others(self) -> None:
        tree = self.chart([0, 10], [5, 5], [10, None])
        _, first, second, third = tree.findall("svg/path")
        self.assertEqual(first.attrib, {"class": "first", "d": "M0 199l1-198"})
        self.assertEqual((second.attrib["class"], second.attrib["d"]), ("second", "M0 100h1"))
        self.assertEqual((third.attrib["class"], third.attrib["d"]), ("third", "M0 1h1"))

    def test_words_and_axis(self) -> None:
        tree = self.chart([0.0] * 361)
        self.assertEqual((tree.findtext("title"), tree.findtext("text")), (HOSTILE, "10 <a second>"))
        grid = tree.findall("svg/path")[0].attrib["d"]
        self.assertEqual(grid, "M60 0V200M120 0V200M180 0V200M240 0V200M300 0V200M0 100H360")

    def test_nothing_yet(self) -> None:
        self.assertEqual(self.chart([]).findall("svg/path")[1].attrib["d"], "")

    def test_a_swatch_looks_like_its_line(self) -> None:
        for place, kind in enumerate(charts.LINES):
            (path,) = ElementTree.fromstring(charts.swatch(place)).findall("path")
            self.assertEqual(path.attrib["class"], kind)


class HistogramTests(SynchronousTestCase):
    def test_bars_as_far_as_there_is_something(self) -> None:
        self.assertEqual(charts.bars(counted()), [])
        self.assertEqual(charts.bars(counted(0.0005)), [Bar(0.001, 1)])
        found = charts.bars(counted(0.02, 0.02, 0.07))
        self.assertEqual(found, [Bar(0.01, 0), Bar(0.025, 2), Bar(0.05, 0), Bar(0.1, 1)])

    def test_what_took_longer_than_all(self) -> None:
        self.assertEqual(charts.bars(counted(30 * 86400.0)), [Bar(86400.0, 0), Bar(None, 1)])
        tree = ElementTree.fromstring(charts.histogram(counted(30 * 86400.0), "job"))
        self.assertEqual([each.text for each in tree.findall("svg/rect/title")], ["longer than 1 d: 1 job"])

    def test_it_says_what_it_shows(self) -> None:
        tree = ElementTree.fromstring(charts.histogram(counted(*[0.02] * 98, 3.0, 3.0), "<job>"))
        words = "100 <job>s: 50 % within 22 ms, 95 % within 22 ms, 99 % within 3.5 s"
        title = tree.findtext("title") or ""
        self.assertEqual(re.sub(r"\d+ ms|[\d.]+ s", "T", title), re.sub(r"\d+ ms|[\d.]+ s", "T", words))
        bars = [each.text for each in tree.findall("svg/rect/title")]
        self.assertEqual(bars, ["up to 25 ms: 98 <job>s", "up to 5 s: 2 <job>s"])

    def test_a_bar_of_one_can_be_seen(self) -> None:
        tree = ElementTree.fromstring(charts.histogram(counted(*[0.02] * 10_000, 3.0), "job"))
        high, low = (int(each.attrib["height"]) for each in tree.findall("svg/rect"))
        self.assertEqual((high, low), (charts.HEIGHT - 40, 1))

    def test_quantiles_are_marked_in_order(self) -> None:
        times = [*[0.002] * 60, *[0.2] * 37, *[20.0] * 3]
        tree = ElementTree.fromstring(charts.histogram(counted(*times), "job"))
        places = [float(each.attrib["d"][1:].split(" ")[0]) for each in tree.findall("svg/path")]
        self.assertEqual(places, sorted(places))
        labels = [each.text for each in tree.findall("text")][:3]
        self.assertEqual(labels, ["p50", "p95", "p99"])
        width = int(tree.findall("svg")[0].attrib["viewBox"].split()[2])
        self.assertTrue(all(0 < place < width for place in places), places)

    def test_labels_stay_within(self) -> None:
        """Those in the right half are on the left of their lines; of many bars only some have a label."""
        tree = ElementTree.fromstring(charts.histogram(counted(0.0005, *[86000.0] * 30), "job"))
        texts = tree.findall("text")
        self.assertEqual({each.attrib.get("text-anchor") for each in texts[:3]}, {"end"})
        self.assertLessEqual(len(texts) - 3, 6)

    def test_the_shortest_is_the_first(self) -> None:
        tree = ElementTree.fromstring(charts.histogram(counted(0.00001), "job"))
        self.assertEqual(tree.findtext("text"), "p50")

    def test_short(self) -> None:
        for seconds, words in (
            (0.0025, "2.5 ms"),
            (0.25, "250 ms"),
            (2.5, "2.5 s"),
            (900, "15 min"),
            (86400, "1 d"),
        ):
            self.assertEqual(charts.short(seconds), words)
