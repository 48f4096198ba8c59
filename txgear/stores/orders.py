"""
The table of orders (L{txgear.broker.orders}), in the SQL of one dialect.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import ColumnElement, delete, func, or_, select, update

from txgear.broker.orders import Order
from txgear.stores.schema import leases, orders
from txgear.stores.statements import ROW_BYTES, parameter

if TYPE_CHECKING:
    from sqlalchemy.engine.interfaces import DBAPICursor

    from txgear.stores.statements import Statements

MOST_BYTES: Final = 16 * 1024 * 1024
"""Bytes of answers that are read in one go; one may have more."""
BEGUN: Final = b""
"""What stands in place of the answer once an order is being carried out."""


class OrderTable:
    """
    Its statements. Each method works on a cursor of the driver, in the transaction that is under way.
    """

    def __init__(self, statements: Statements) -> None:
        self._statements = statements
        columns, text = orders.c, statements.text
        is_number = columns.number == parameter(columns.number)
        begun = parameter(columns.answer)
        self._answer_text = text(update(orders).values(answer=parameter(columns.answer)).where(is_number))
        self._withdraw_text = text(delete(orders).where(is_number, columns.answer.is_(None)))
        self._orphans_text = text(delete(orders).where(columns.part.not_in(select(leases.c.part))))
        one_of = statements.is_one_of
        self._open_text = cache(
            lambda keys: text(
                select(columns.number).where(
                    one_of(columns.part, keys), or_(columns.answer.is_(None), columns.answer == begun)
                )
            )
        )
        self._answered_text = cache(
            lambda keys: text(
                select(columns.number).where(one_of(columns.part, keys), self._is_answered(begun))
            )
        )
        self._begin_text = cache(
            lambda keys: text(
                update(orders)
                .values(answer=begun)
                .where(one_of(columns.number, keys), columns.answer.is_(None))
            )
        )
        self._read_text = cache(
            lambda keys: text(
                select(columns.number, columns.part, columns.asked).where(one_of(columns.number, keys))
            )
        )
        self._answers_text = cache(
            lambda keys: text(select(columns.number, columns.answer).where(one_of(columns.number, keys)))
        )
        self._sizes_text = cache(
            lambda keys: text(
                select(columns.number, func.length(columns.answer)).where(
                    one_of(columns.number, keys), self._is_answered(begun)
                )
            )
        )

    @staticmethod
    def _is_answered(begun: Any) -> ColumnElement[bool]:
        answered: ColumnElement[bool] = orders.c.answer != begun
        return answered

    # Who asks

    def give(self, cursor: DBAPICursor, new: Sequence[Order]) -> None:
        """Give orders."""
        rows = [(*order, None) for order in new]
        self._statements.insert(cursor, orders, rows, [ROW_BYTES + len(order.asked) for order in new])

    def withdraw(self, cursor: DBAPICursor, numbers: Iterable[int]) -> set[int]:
        """Delete orders that nobody has begun; which those are."""
        gone = set()
        for number in numbers:
            cursor.execute(self._withdraw_text, (number,))
            if cursor.rowcount == 1:
                gone.add(number)
        return gone

    def answers(self, cursor: DBAPICursor, numbers: Sequence[int]) -> dict[int, bytes]:
        """The answers that are there, by number; some of them, where they are large."""
        ready: list[int] = []
        left = MOST_BYTES
        for part in self._statements.key_lists(numbers):
            cursor.execute(self._sizes_text(len(part)), (*part, BEGUN))
            for number, size in cursor.fetchall():
                if left > 0:
                    ready.append(number)
                left -= size
        found: dict[int, bytes] = {}
        for part in self._statements.key_lists(ready):
            cursor.execute(self._answers_text(len(part)), part)
            found.update((number, bytes(answer)) for number, answer in cursor.fetchall())
        return found

    def delete(self, cursor: DBAPICursor, numbers: Sequence[int]) -> None:
        """Delete orders, whatever has become of them."""
        self._statements.delete(cursor, orders, numbers)

    # Who is asked

    def open(self, cursor: DBAPICursor, parts: Sequence[int]) -> set[int]:
        """The numbers of the orders for some parts that are not answered."""
        return self._numbers(cursor, self._open_text, parts)

    def answered(self, cursor: DBAPICursor, parts: Sequence[int]) -> set[int]:
        """The numbers of those that are."""
        return self._numbers(cursor, self._answered_text, parts)

    def _numbers(self, cursor: DBAPICursor, text: Any, parts: Sequence[int]) -> set[int]:
        found: set[int] = set()
        for part in self._statements.key_lists(parts):
            cursor.execute(text(len(part)), (*part, BEGUN))
            found.update(number for (number,) in cursor.fetchall())
        return found

    def begin(self, cursor: DBAPICursor, numbers: Collection[int]) -> list[Order]:
        """Nobody may withdraw these any more; those that are still there."""
        found: list[Order] = []
        for part in self._statements.key_lists(list(numbers)):
            cursor.execute(self._begin_text(len(part)), (BEGUN, *part))
            cursor.execute(self._read_text(len(part)), part)
            found += [Order(number, of, bytes(asked)) for number, of, asked in cursor.fetchall()]
        return found

    def answer(self, cursor: DBAPICursor, answers: Mapping[int, bytes]) -> None:
        """Answer orders; those that are not there any more are passed over."""
        for number, answer in answers.items():
            cursor.execute(self._answer_text, (answer, number))

    def delete_orphans(self, cursor: DBAPICursor) -> None:
        """Delete those for parts that there are not any more."""
        cursor.execute(self._orphans_text)
