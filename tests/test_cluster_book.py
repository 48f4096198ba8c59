"""What is wrong in the book of the proof is found."""

from __future__ import annotations

import pytest

from clusterbook import (
    DONE,
    GRABBED_TWICE,
    LOST,
    OTHER,
    STALE,
    TWICE,
    UNIQUE,
    Book,
    Grab,
    Owned,
    Write,
    judge,
)

JOB = b"H:host:1000"
PART = (1, 1000, 2000)

#: ``a`` has the part, and ``b`` from 10.0 on.
TERMS = (Owned(*PART, b"A", 1, "a", 1.0), Owned(*PART, b"B", 2, "b", 10.0))
ADDED = Write("INSERT", 1000, 1, b"A", 1, True, True, 2.0)
DELETED = Write("DELETE", 1000, 1, b"B", 2, True, None, 12.0)


def book(*grabs: Grab) -> Book:
    """One in which a job was answered, got there, and done."""
    this = Book()
    this.answer(JOB, b"work", "a", 2.0)
    for grab in grabs:
        this.grab(grab, b"work")
        this.end(grab.handle)
    return this


AT_A = Grab(JOB, "a", 5.0)
AT_B = Grab(JOB, "b", 11.0)


def test_all_is_well() -> None:
    counts, problems = judge(book(AT_A, AT_B), TERMS, (ADDED, DELETED), 0)
    assert problems == []
    assert (counts[DONE], counts[TWICE], counts[GRABBED_TWICE]) == (2, 1, 1)


def test_given_up_and_taken() -> None:
    nobody = Owned(*PART, b"", 1, "", 4.0)
    terms = (TERMS[0], nobody, Owned(*PART, b"B", 2, "b", 4.5))
    assert judge(book(AT_B), terms, (ADDED, DELETED), 0)[1] == []
    assert [kind for kind, _ in judge(book(AT_A, AT_B), terms, (), 0)[1]] == [STALE]


def test_not_done() -> None:
    assert [kind for kind, _ in judge(book(), TERMS, (), 0)[1]] == [LOST]
    assert [kind for kind, _ in judge(book(AT_A), TERMS, (), 1)[1]] == [LOST]


@pytest.mark.parametrize("grab", [Grab(JOB, "a", 10.5), Grab(JOB, "b", 9.5), Grab(JOB, "c", 5.0)])
def test_handed_out_by_another_one(grab: Grab) -> None:
    assert [kind for kind, _ in judge(book(grab), TERMS, (), 0)[1]] == [STALE]


@pytest.mark.parametrize(
    "write",
    [
        ADDED._replace(fenced=False),
        ADDED._replace(own=False),
        ADDED._replace(owner=b"C"),
        ADDED._replace(term=3),
        ADDED._replace(part=2),
    ],
)
def test_written_by_another_one(write: Write) -> None:
    assert [kind for kind, _ in judge(book(AT_A), TERMS, (write,), 0)[1]] == [STALE]


@pytest.mark.parametrize(
    "last",
    [Owned(*PART, b"C", 2, "c", 12.0), Owned(*PART, b"A", 3, "a", 12.0), Owned(*PART, b"C", 1, "c", 12.0)],
)
def test_owners_that_come_back(last: Owned) -> None:
    assert [kind for kind, _ in judge(book(AT_A), (*TERMS, last), (), 0)[1]] == [STALE]


def test_no_such_part() -> None:
    assert [kind for kind, _ in judge(book(Grab(b"H:host:2000", "a", 5.0)), TERMS, (), 0)[1]] == [OTHER, LOST]
    assert [kind for kind, _ in judge(book(Grab(b"H:host:999", "a", 5.0)), TERMS, (), 0)[1]] == [OTHER, LOST]


def test_one_handle_for_two_jobs() -> None:
    this = book(AT_A)
    this.answer(JOB, b"other work", "b", 3.0)
    assert [kind for kind, _ in judge(this, TERMS, (), 0)[1]] == [OTHER]
    this.grab(AT_A, b"other work")
    assert [kind for kind, _ in judge(this, TERMS, (), 0)[1]] == [OTHER, OTHER]


def test_the_first_elsewhere() -> None:
    this = book(AT_A, AT_B, Grab(JOB, "c", 10.5))
    assert this.elsewhere([range(1000, 2000)], ["a"], 4.0) == 10.5
    assert this.elsewhere([range(1000, 2000)], ["a"], 10.7) == 11.0
    assert this.elsewhere([range(1001, 2000)], ["a"], 4.0) is None


@pytest.mark.parametrize(("grabbed", "kinds"), [(3.5, []), (4.5, [UNIQUE])])
def test_two_of_one_unique(grabbed: float, kinds: list[str]) -> None:
    """The second one is answered when the first one is at a worker, or before."""
    another = b"H:host:1001"
    this = book(Grab(JOB, "a", grabbed), Grab(another, "a", 5.0))
    this.answer(another, b"work", "a", 4.0)
    assert [kind for kind, _ in judge(this, TERMS, (), 0)[1]] == kinds
