"""
The kit of the unit tests: one module for each floor of the package.

A test takes the lowest fixture that can show what it is about: a rule of the broker needs no server, and a
server needs no socket. Time stands still until the test moves it; nothing sleeps, listens or opens a file.

  - C{protocol} and C{net}: C{support/net.py}. C{packet} and C{error} are bytes by the letter of the protocol;
    C{FakeTcpConnection} is a TCP connection over a C{FakeSocket}.
  - C{broker}: C{support/broker.py}. C{BrokerFixture} is a broker with its peers and a clock; C{FakeOutbox}
    and C{FakeJournal} are what it writes to. C{BrokerTestCase} and C{DurableBrokerTestCase} have a fixture,
    and count everything again when the test has ended.
  - C{broker} as a whole: C{support/model.py} and C{support/model_policies.py}. A broker as simple as it can
    be said; the state machines of C{test_broker_machine*.py} hold the real one against it.
  - C{journal}: C{support/journal.py}. C{FaultyStore} fails where it is told to; C{ManualThread} makes a call
    when it is told to.
  - C{stores}: C{support/stores.py}. C{StoreContract} is what every store must pass;
    C{SharedContract}, in C{support/shiftedstore.py}, has it beside another server in the same database.
    C{support/batches.py} makes the jobs and batches that it is given.
  - C{client} and C{worker}: C{support/client.py}. C{ScriptedServer} is an endpoint that the test plays.
  - C{server}: C{support/server.py}. C{ServerFixture} and C{DurableServerFixture} are whole servers in memory;
    C{FakePeer} is a connection to one, from the peer's side. C{support/http.py}: the same for the HTTP port.
  - TLS, in C{security} and C{server}: C{support/tls.py}. C{CertificateFolder} has the files, C{TlsPeer} is a
    client in memory.
  - All floors: C{support/clock.py} (C{START}, C{FakeWallClock}, C{ClockTestCase}) and C{support/extras.py}
    (hypothesis, and C{needs} for a test that is skipped where a package is missing).

A rule of the broker, in C{txgear/test/broker/}::

    class OrderTests(BrokerTestCase):
        def test_the_first_that_came_is_handed_out_first(self) -> None:
            worker = self.fixture.worker(b"f")
            jobs = [self.fixture.submit(None) for _ in range(2)]
            self.assertEqual(self.fixture.grab_all(worker), jobs)

What a peer of the server sees, in C{txgear/test/server/}::

    class EchoTests(SynchronousTestCase):
        def test_what_is_sent_comes_back(self) -> None:
            peer = ServerFixture().connect()
            self.assertEqual(peer.ask(request(ECHO_REQ, b"x")), response(ECHO_RES, b"x"))
"""

from __future__ import annotations
