"""Tests of L{txgear.protocol.packets}."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

from twisted.trial.unittest import SynchronousTestCase

from txgear.errors import PacketTooLarge, ProtocolError
from txgear.protocol.constants import (
    CAN_DO,
    CAN_DO_TIMEOUT,
    ECHO_REQ,
    GET_RESULT,
    GRAB_JOB,
    JOB_CREATED,
    LAST_TYPE,
    MALFORMED,
    MAX_LINE,
    NOOP,
    PRIVATE,
    REQUEST_MAGIC,
    RESPONSE_MAGIC,
    RESULT,
    SET_CLIENT_ID,
    SUBMIT_JOB,
    SUBMIT_REDUCE_JOB,
    SWITCH_HTTP,
    TEXT,
    WORK_COMPLETE,
    WORK_STATUS,
    WRONG_MAGIC,
)
from txgear.protocol.packets import (
    PACKETS,
    PIECES_FROM,
    PRIVATE_PACKETS,
    Data,
    Decoder,
    Pieces,
    Received,
    decimal,
    large,
    reduce_workload,
    request,
    response,
)
from txgear.test.support.extras import PROPERTY, given, st
from txgear.test.support.net import packet

LARGE = bytes(range(256)) * (PIECES_FROM // 256) + b"x"
"""A body from which data travels in pieces."""


def decoded(decoder: Decoder, chunks: Iterable[bytes]) -> list[Received]:
    return [found for chunk in chunks for found in decoder.feed(chunk)]


def requested(kind: int, body: bytes = b"") -> bytes:
    return packet(REQUEST_MAGIC, kind, body)


def extended(magic: bytes = REQUEST_MAGIC) -> Decoder:
    """A decoder that knows the packets of this server's own."""
    decoder = Decoder(magic)
    decoder.extended = True
    return decoder


def sample(kind: int) -> tuple[bytes, list[bytes]]:
    """A good packet of this type, and its arguments."""
    _, count, data = {**PACKETS, **PRIVATE_PACKETS}[kind]
    arguments = [b"argument-%d" % number for number in range(count)]
    if data:
        arguments.append(b"da\0ta")
    return requested(kind, b"\0".join(arguments)), arguments


def cut(whole: bytes, cuts: Iterable[int]) -> list[bytes]:
    """The same bytes in pieces."""
    edges = [0, *sorted({at % (len(whole) + 1) for at in cuts}), len(whole)]
    return [whole[start:stop] for start, stop in itertools.pairwise(edges)]


STREAM = b"".join([sample(kind)[0] + b"status\r\nworkers\n" for kind in PACKETS]) + requested(ECHO_REQ, LARGE)
IN_STREAM: list[Received] = []
for each in PACKETS:
    IN_STREAM += [(each, list(sample(each)[1])), (TEXT, [b"status"]), (TEXT, [b"workers"])]
IN_STREAM.append((ECHO_REQ, [LARGE]))


class PacketTests(SynchronousTestCase):
    def test_every_type(self) -> None:
        for kind in PACKETS:
            whole, arguments = sample(kind)
            self.assertEqual(decoded(Decoder(), [whole]), [(kind, arguments)])

    def test_every_type_of_the_other_direction(self) -> None:
        for kind in PACKETS:
            arguments = sample(kind)[1]
            self.assertEqual(
                decoded(Decoder(RESPONSE_MAGIC), [response(kind, *arguments)]), [(kind, arguments)]
            )

    def test_every_type_encoded(self) -> None:
        for kind in PACKETS:
            whole, arguments = sample(kind)
            self.assertEqual(request(kind, *arguments), whole)
            self.assertEqual(response(kind, *arguments), b"\0RES" + whole[4:])

    def test_an_encoded_packet_by_the_letter(self) -> None:
        self.assertEqual(request(SUBMIT_JOB, b"f", b"u", b"w"), b"\0REQ\0\0\0\x07\0\0\0\x05f\0u\0w")
        self.assertEqual(response(NOOP), b"\0RES\0\0\0\x06\0\0\0\0")

    def test_the_last_argument_holds_all_that_is_left(self) -> None:
        self.assertEqual(
            decoded(Decoder(), [requested(SUBMIT_JOB, b"f\0u\0\0w\0"), requested(CAN_DO, b"f\0")]),
            [(SUBMIT_JOB, [b"f", b"u", b"\0w\0"]), (CAN_DO, [b"f\0"])],
        )

    def test_empty_arguments(self) -> None:
        self.assertEqual(
            decoded(Decoder(), [requested(SUBMIT_JOB, b"\0\0"), requested(CAN_DO), requested(ECHO_REQ)]),
            [(SUBMIT_JOB, [b"", b"", b""]), (CAN_DO, [b""]), (ECHO_REQ, [b""])],
        )

    def test_a_body_where_there_is_none_to_be_is_dropped(self) -> None:
        for body in (b"surprise", LARGE):
            self.assertEqual(
                decoded(Decoder(), [requested(GRAB_JOB, body) + requested(CAN_DO, b"f")]),
                [(GRAB_JOB, []), (CAN_DO, [b"f"])],
            )

    def test_a_packet_of_the_other_direction_is_told_apart(self) -> None:
        for body in (b"H:1", LARGE):
            self.assertEqual(
                decoded(Decoder(), [packet(RESPONSE_MAGIC, JOB_CREATED, body) + requested(GRAB_JOB)]),
                [(WRONG_MAGIC, []), (GRAB_JOB, [])],
            )
        self.assertEqual(decoded(Decoder(RESPONSE_MAGIC), [requested(GRAB_JOB)]), [(WRONG_MAGIC, [])])


class CutsTests(SynchronousTestCase):
    def test_byte_by_byte(self) -> None:
        self.assertEqual(decoded(Decoder(), [STREAM[at : at + 1] for at in range(len(STREAM))]), IN_STREAM)

    def test_whole(self) -> None:
        self.assertEqual(decoded(Decoder(), [STREAM]), IN_STREAM)

    @PROPERTY
    @given(st.lists(st.integers(0, len(STREAM)), max_size=30))
    def test_anyhow(self, cuts: list[int]) -> None:
        self.assertEqual(decoded(Decoder(), cut(STREAM, cuts)), IN_STREAM)

    @PROPERTY
    @given(st.binary(max_size=60), st.lists(st.integers(0, 60), max_size=5))
    def test_cuts_change_nothing_of_what_a_stream_of_anything_means(
        self, rest: bytes, cuts: list[int]
    ) -> None:
        stream = requested(GRAB_JOB) + requested(WORK_STATUS, rest) + rest

        def outcome(chunks: list[bytes]) -> tuple[list[Received], bool]:
            found: list[Received] = []
            decoder = Decoder(limit=1000)
            try:
                for chunk in chunks:
                    found += decoder.feed(chunk)
            except ProtocolError:
                return found, True
            return found, False

        self.assertEqual(outcome(cut(stream, cuts)), outcome([stream]))

    def test_nothing_changes_nothing(self) -> None:
        self.assertEqual(decoded(Decoder(), [b"", b"sta", b"", b"", b"tus\n", b""]), [(TEXT, [b"status"])])


PRIVATE_STREAM = b"".join([sample(kind)[0] + sample(GRAB_JOB)[0] for kind in PRIVATE_PACKETS])
PRIVATE_STREAM += b"status\n" + sample(RESULT)[0] + requested(RESULT, b"t\0h\0done\x000\0" + LARGE)
IN_PRIVATE_STREAM: list[Received] = []
for each in PRIVATE_PACKETS:
    IN_PRIVATE_STREAM += [(each, list(sample(each)[1])), (GRAB_JOB, [])]
IN_PRIVATE_STREAM += [
    (TEXT, [b"status"]),
    (RESULT, list(sample(RESULT)[1])),
    (RESULT, [b"t", b"h", b"done", b"0", LARGE]),
]


class PrivateTests(SynchronousTestCase):
    """The packets of this server's own."""

    def test_every_type(self) -> None:
        for kind in PRIVATE_PACKETS:
            whole, arguments = sample(kind)
            self.assertEqual(decoded(extended(), [whole]), [(kind, arguments)])
            self.assertEqual(request(kind, *arguments), whole)
            answer = response(kind, *arguments)
            self.assertEqual(decoded(extended(RESPONSE_MAGIC), [answer]), [(kind, arguments)])
            self.assertEqual(decoded(extended(), [answer]), [(WRONG_MAGIC, [])])

    def test_by_the_letter(self) -> None:
        self.assertEqual(
            request(GET_RESULT, b"7", b"H:1", b"", b"", b"1"),
            b"\0REQTX\0\x02\0\0\0\x09" + b"7\0H:1\0\0\x001",
        )

    def test_whole(self) -> None:
        self.assertEqual(decoded(extended(), [PRIVATE_STREAM]), IN_PRIVATE_STREAM)

    def test_what_is_behind_a_switch(self) -> None:
        """It is told once, of the last one; it is Gearman's for whoever goes on."""
        echo, switch = requested(ECHO_REQ, b"x"), request(SWITCH_HTTP)
        for size in (len(switch), 1):
            decoder = extended()
            self.assertEqual(decoder.behind_switch(), b"")
            found = []
            chunks = [switch[at : at + size] for at in range(0, len(switch), size)]
            for chunk in [*chunks[:-1], chunks[-1] + echo + switch + b"GET "]:
                for kind, _ in decoder.feed(chunk):
                    found.append((kind, decoder.behind_switch()))
            self.assertEqual(
                found,
                [(SWITCH_HTTP, echo + switch + b"GET "), (ECHO_REQ, b""), (SWITCH_HTTP, b"GET ")],
            )
            self.assertEqual(decoder.buffered, len(b"GET "))

    def test_byte_by_byte(self) -> None:
        chunks = [PRIVATE_STREAM[at : at + 1] for at in range(len(PRIVATE_STREAM))]
        self.assertEqual(decoded(extended(), chunks), IN_PRIVATE_STREAM)

    @PROPERTY
    @given(st.lists(st.integers(0, len(PRIVATE_STREAM)), max_size=30))
    def test_anyhow(self, cuts: list[int]) -> None:
        self.assertEqual(decoded(extended(), cut(PRIVATE_STREAM, cuts)), IN_PRIVATE_STREAM)

    def test_too_few_arguments(self) -> None:
        for kind, (name, count, data) in PRIVATE_PACKETS.items():
            if count > 1:
                for last in (b"x", LARGE.replace(b"\0", b"")):
                    body = b"\0".join([b"x"] * (count - 2) + [last])
                    found = decoded(extended(), [requested(kind, body)])
                    self.assertEqual(found, [(MALFORMED, [name.encode()])])
                    if data:  # the NUL before an empty data part may be missing
                        found = decoded(extended(), [requested(kind, b"x\0" + body)])
                        self.assertEqual(found, [(kind, [b"x"] * (count - 1) + [last, b""])])

    def test_a_body_where_there_is_none_to_be_is_dropped(self) -> None:
        for kind, (_, count, data) in PRIVATE_PACKETS.items():
            if not count and not data:
                for body in (b"surprise", LARGE):
                    self.assertEqual(decoded(extended(), [requested(kind, body)]), [(kind, [])])

    def test_unknown_to_whoever_has_not_asked(self) -> None:
        for kind in PRIVATE_PACKETS:
            with self.assertRaisesRegex(ProtocolError, f"no packet has the type {kind}$"):
                decoded(Decoder(), [sample(kind)[0]])

    def test_others_are_unknown(self) -> None:
        for kind in (0, LAST_TYPE + 1, PRIVATE, PRIVATE + len(PRIVATE_PACKETS) + 1, 2**32 - 1):
            with self.assertRaisesRegex(ProtocolError, f"no packet has the type {kind}$"):
                decoded(extended(), [requested(kind)])

    def test_known_from_the_packet_on_that_asks(self) -> None:
        """A peer need not wait for the answer."""
        decoder = Decoder()
        found: list[Received] = []
        for kind, arguments in decoder.feed(sample(GRAB_JOB)[0] + sample(GET_RESULT)[0]):
            decoder.extended = True
            found.append((kind, arguments))
        self.assertEqual(found, [(GRAB_JOB, []), (GET_RESULT, list(sample(GET_RESULT)[1]))])


class MalformedTests(SynchronousTestCase):
    def test_a_status_may_lack_its_denominator(self) -> None:
        for numerator in (b"5", LARGE.replace(b"\0", b"")):
            whole = requested(WORK_STATUS, b"h\0" + numerator)
            self.assertEqual(decoded(Decoder(), [whole]), [(WORK_STATUS, [b"h", numerator, b""])])

    def test_too_few_arguments(self) -> None:
        for kind, (name, count, _) in PACKETS.items():
            if count > 1 and kind != WORK_STATUS:
                body = b"\0".join([b"x"] * (count - 1))
                self.assertEqual(decoded(Decoder(), [requested(kind, body)]), [(MALFORMED, [name.encode()])])
                whole = requested(kind, body + LARGE.replace(b"\0", b""))
                self.assertEqual(decoded(Decoder(), [whole]), [(MALFORMED, [name.encode()])])

    def test_the_nul_before_an_empty_data_part_may_be_missing(self) -> None:
        long = b"H" * (PIECES_FROM + 1)
        for handle in (b"H:1", long):
            whole = requested(WORK_COMPLETE, handle)
            for chunks in ([whole], cut(whole, [20, 30])):
                self.assertEqual(decoded(Decoder(), chunks), [(WORK_COMPLETE, [handle, b""])])

    def test_the_next_packet_is_left_alone(self) -> None:
        self.assertEqual(
            decoded(Decoder(), [requested(SUBMIT_JOB, b"f") + requested(CAN_DO, b"g")]),
            [(MALFORMED, [b"SUBMIT_JOB"]), (CAN_DO, [b"g"])],
        )

    def test_unknown_types(self) -> None:
        for kind in (0, LAST_TYPE + 1, 2**32 - 1):
            with self.assertRaisesRegex(ProtocolError, f"no packet has the type {kind}$"):
                decoded(Decoder(), [requested(kind)])

    def test_unknown_magic(self) -> None:
        for magic in (b"\0REP", b"\0\0\0\0", b"\0req"):
            with self.assertRaisesRegex(ProtocolError, "neither a Gearman packet nor"):
                decoded(Decoder(), [packet(magic, GRAB_JOB)])

    def test_what_came_before_is_good(self) -> None:
        feed = Decoder().feed(requested(GRAB_JOB) + requested(0))
        self.assertEqual(next(feed), (GRAB_JOB, []))
        self.assertRaises(ProtocolError, next, feed)


class LimitTests(SynchronousTestCase):
    def test_a_body_at_the_limit_is_taken(self) -> None:
        decoder = Decoder(limit=10)
        self.assertEqual(decoded(decoder, [requested(ECHO_REQ, b"x" * 10)]), [(ECHO_REQ, [b"x" * 10])])

    def test_one_over_the_limit_is_refused_by_its_header(self) -> None:
        with self.assertRaises(PacketTooLarge) as caught:
            decoded(Decoder(limit=10), [requested(ECHO_REQ, b"x" * 11)[:12]])
        self.assertEqual((caught.exception.declared, caught.exception.limit), (11, 10))

    def test_a_limit_that_is_raised_holds_at_once(self) -> None:
        """Whoever says who it is may send more with the next packet, which may have come already."""
        decoder = Decoder(limit=10)
        found: list[Received] = []
        more = [requested(ECHO_REQ, b"x" * size) for size in (11, 20, 21)]
        feed = decoder.feed(b"".join([requested(GRAB_JOB), *more]))
        found.append(next(feed))
        decoder.limit = 20
        found += [next(feed), next(feed)]
        self.assertEqual(found, [(GRAB_JOB, []), (ECHO_REQ, [b"x" * 11]), (ECHO_REQ, [b"x" * 20])])
        with self.assertRaises(PacketTooLarge) as caught:
            next(feed)
        self.assertEqual((caught.exception.declared, caught.exception.limit), (21, 20))

    def test_a_declared_size_takes_no_memory(self) -> None:
        decoder = Decoder(limit=2**32)
        decoded(decoder, [b"\0REQ\0\0\0\x10\xff\xff\xff\xff"])
        self.assertEqual(decoder.missing, 2**32 - 1)


class LineTests(SynchronousTestCase):
    def test_the_line_end_is_lf_or_crlf(self) -> None:
        self.assertEqual(
            decoded(Decoder(), [b"one\ntwo\r\nthr\ree \r\r\n \n"]),
            [(TEXT, [b"one"]), (TEXT, [b"two"]), (TEXT, [b"thr\ree \r"]), (TEXT, [b" "])],
        )

    def test_an_empty_line(self) -> None:
        self.assertEqual(decoded(Decoder(), [b"\n\r\n"]), [(TEXT, [b""]), (TEXT, [b""])])

    def test_the_longest(self) -> None:
        line = b"x" * MAX_LINE
        self.assertEqual(decoded(Decoder(), [line, b"\n"]), [(TEXT, [line])])

    def test_a_longer_one(self) -> None:
        for chunks in ([b"x" * (MAX_LINE + 1)], [b"x" * MAX_LINE, b"y"], [b"x" * (MAX_LINE + 1) + b"\n"]):
            with self.assertRaisesRegex(ProtocolError, "a line of more than 8192 bytes"):
                decoded(Decoder(), chunks)


class PiecesTests(SynchronousTestCase):
    def test_a_large_body_is_never_joined(self) -> None:
        whole = requested(SUBMIT_JOB, b"f\0u\0" + LARGE)
        chunks = [whole[:1000], whole[1000:60000], whole[60000:] + b"status\n"]
        submit, text = decoded(Decoder(), chunks)
        self.assertEqual(submit, (SUBMIT_JOB, [b"f", b"u", LARGE]))
        workload = submit[1][2]
        assert isinstance(workload, Pieces)
        self.assertEqual(workload.chunks[-1], whole[60000:])
        self.assertEqual(text, (TEXT, [b"status"]))

    def test_its_arguments_are_found_wherever_it_was_cut(self) -> None:
        whole = requested(SUBMIT_JOB, b"function\0unique\0" + LARGE)
        for at in range(12, 32):
            for chunks in (cut(whole, [at]), cut(whole, [at, 40000]), cut(whole, [12, at, at + 1])):
                self.assertEqual(decoded(Decoder(), chunks), [(SUBMIT_JOB, [b"function", b"unique", LARGE])])

    def test_large_arguments(self) -> None:
        name = LARGE.replace(b"\0", b"")
        whole = requested(SUBMIT_JOB, name + b"\0" + name + b"\0" + name)
        for cuts in ([], [20000], [12, 70000, 150000], range(0, len(whole), 5000)):
            self.assertEqual(decoded(Decoder(), cut(whole, cuts)), [(SUBMIT_JOB, [name, name, name])])

    def test_a_large_body_without_a_data_part(self) -> None:
        for kind, arguments in ((SET_CLIENT_ID, [LARGE]), (CAN_DO_TIMEOUT, [b"f", LARGE])):
            whole = requested(kind, b"\0".join(arguments))
            for chunks in ([whole], cut(whole, [13, 40000])):
                self.assertEqual(decoded(Decoder(), chunks), [(kind, arguments)])

    def test_tiny_chunks_make_few_pieces(self) -> None:
        size = 4 * PIECES_FROM
        whole = requested(ECHO_REQ, b"x" * size)
        for step in (1, 7, 1460):
            decoder = Decoder()
            for at in range(0, len(whole) - 1, step):
                self.assertEqual(decoded(decoder, [whole[at : min(at + step, len(whole) - 1)]]), [])
            [(_, [data])] = decoded(decoder, [whole[-1:]])
            assert isinstance(data, Pieces)
            self.assertEqual(len(data), size)
            self.assertLess(len(data.chunks), 25)

    def test_pieces_are_bytes_to_look_at(self) -> None:
        pieces = Pieces([b"ab", b"", b"c"])
        self.assertEqual(pieces.chunks, [b"ab", b"c"])
        self.assertEqual((len(pieces), bytes(pieces), hash(pieces)), (3, b"abc", hash(b"abc")))
        self.assertEqual(pieces, b"abc")
        self.assertEqual(pieces, Pieces([b"abc"]))
        self.assertNotEqual(pieces, b"abd")
        self.assertNotEqual(pieces, b"ab")
        self.assertNotEqual(pieces, "abc")
        self.assertEqual(repr(pieces), "<3 bytes in 2 pieces>")

    def test_a_large_packet_is_encoded_without_a_copy(self) -> None:
        chunks = [b"x" * PIECES_FROM, b"y"]
        for data, written in ((Pieces(chunks), chunks), (b"xy", [b"xy"])):
            made = large(REQUEST_MAGIC, SUBMIT_JOB, [b"f", b"u"], data)
            self.assertEqual(b"".join(made), request(SUBMIT_JOB, b"f", b"u", bytes(data)))
            for one, other in zip(made[1:], written, strict=True):
                self.assertIs(one, other)
        self.assertEqual(large(RESPONSE_MAGIC, ECHO_REQ, [], b"x"), [response(ECHO_REQ, b"x")[:-1], b"x"])


class MissingTests(SynchronousTestCase):
    def test_what_the_unfinished_packet_wants(self) -> None:
        decoder = Decoder()
        self.assertEqual(decoder.missing, 0)
        for size in (30, PIECES_FROM + 30):
            whole = requested(ECHO_REQ, b"x" * size)
            for arrived, missing in (
                (whole[:1], 11),
                (whole[1:12], size),
                (whole[12:22], size - 10),
                (whole[22:], 0),
            ):
                decoded(decoder, [arrived])
                self.assertEqual(decoder.missing, missing)

    def test_nothing_after_a_whole_packet_that_ended_with_another(self) -> None:
        decoder = Decoder()
        whole = requested(ECHO_REQ, LARGE)
        decoded(decoder, [whole[:100], whole[100:] + requested(GRAB_JOB)])
        self.assertEqual((decoder.missing, decoder.needed), (0, 0))

    def test_a_line_wants_one_more(self) -> None:
        decoder = Decoder()
        decoded(decoder, [b"status"])
        self.assertEqual(decoder.missing, 1)
        decoded(decoder, [b"\n"])
        self.assertEqual(decoder.missing, 0)


class HeldTests(SynchronousTestCase):
    def test_the_bytes_of_an_unfinished_packet(self) -> None:
        decoder = Decoder()
        whole = requested(SUBMIT_JOB, b"f\0u\0workload")
        self.assertEqual((decoder.buffered, decoder.missing), (0, 0))
        for end in range(1, len(whole)):
            self.assertEqual(list(decoder.feed(whole[end - 1 : end])), [])
            self.assertEqual(decoder.buffered, end)
        list(decoder.feed(whole[-1:]))
        self.assertEqual((decoder.buffered, decoder.missing), (0, 0))

    def test_those_of_an_unfinished_line(self) -> None:
        decoder = Decoder()
        list(decoder.feed(b"status\nver"))
        self.assertEqual(decoder.buffered, 3)


class NumberTests(SynchronousTestCase):
    def test_decimal_reads_as_strtoll_does(self) -> None:
        for text, number in (
            (b"42", 42),
            (b" \t\n+7", 7),
            (b"-3.9", -3),
            (b"12 apples", 12),
            (b"007", 7),
            (b"0x10", 0),
            (b"", 0),
            (b"apples", 0),
            (b"--1", 0),
            (b"\xff", 0),
            (b"9" * 30, int("9" * 30)),
            (b"9" * 100000, int("9" * 30)),
        ):
            self.assertEqual(decimal(text), number, text[:20])


class ReduceTests(SynchronousTestCase):
    def test_the_fourth_argument_of_libgearman_is_taken_off(self) -> None:
        for body in (b"f\0u\0r\0\0work\0load", b"f\0u\0r\0work\0load"):
            [(kind, arguments)] = decoded(Decoder(), [requested(SUBMIT_REDUCE_JOB, body)])
            self.assertEqual((kind, arguments[:3]), (SUBMIT_REDUCE_JOB, [b"f", b"u", b"r"]))
            self.assertEqual(reduce_workload(arguments[3]), b"work\0load")

    def test_large_and_empty(self) -> None:
        data: Data
        for data, workload in ((Pieces([b"\0", LARGE]), LARGE), (b"", b""), (b"\0", b"")):
            self.assertEqual(reduce_workload(data), workload)
