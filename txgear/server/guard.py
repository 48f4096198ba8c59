"""
Who the peers are, and what comes of that: their rights, their accounts, and a note of each refusal.

A peer is, by what it has shown: whose token it has sent; otherwise whose certificate it has; otherwise whose
address it comes from; otherwise nobody. When the operator's file has been read again, all of that is
judged anew, for those who are connected as well.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, NamedTuple

from twisted.internet.task import Cooperator, SchedulerStopped
from twisted.logger import Logger, LogLevel

from txgear.broker.broker import Broker
from txgear.broker.model import Peer
from txgear.errors import AccessDenied
from txgear.protocol.constants import ERROR
from txgear.protocol.textlines import shown
from txgear.security.access import NOBODY, Access, Identity, IdentityRights, Rule
from txgear.security.audit import LOGIN, REFUSED, Audit
from txgear.security.certificates import CertificateNames
from txgear.security.guesses import Guesses
from txgear.security.tokens import Token, without_secrets
from txgear.server.notices import Notices
from txgear.server.outbox import Outbox

TOKEN: Final = "token"
SERVER: Final = "server"
CERTIFICATE: Final = "certificate"
ADDRESS: Final = "address"


class WrongToken(AccessDenied):
    """Nobody has the token that a peer has brought."""


class Login(NamedTuple):
    """
    Who a peer is.

    @ivar identity: the identity's name; L{NOBODY} for none.
    @ivar how: L{TOKEN}, L{CERTIFICATE}, L{ADDRESS} or L{SERVER}, as another server says; empty for nobody.
    """

    identity: str
    how: str = ""


UNKNOWN: Final = Login(NOBODY)

NO_RIGHTS: Final = IdentityRights(NOBODY)
"""Of whom there is no rule, whatever the rules are: it may do nothing."""


class Guard:
    """
    The guard of all ports of one server.

    @ivar access: identities and rules. There are none at first, and then nothing is asked of anybody.
    @ivar refused: how often what was refused, by identity and act.
    @ivar wrong_tokens: how often somebody has brought a token that nobody has.
    @ivar waiting: what to do for a peer that has been judged, of those that wait for what they may lose.
    """

    log = Logger()

    def __init__(
        self,
        broker: Broker,
        outbox: Outbox,
        notices: Notices,
        cooperator: Cooperator,
        seconds: Callable[[], float],
        end_turn: Callable[[], None],
        audit: Callable[[], Audit],
    ) -> None:
        """
        @param cooperator: judges those who are connected, when the file has been read again.
        @param seconds: the server's time.
        @param end_turn: sends what a turn has brought.
        @param audit: the audit log of now.
        """
        self._broker = broker
        self._outbox = outbox
        self._notices = notices
        self._cooperator = cooperator
        self._seconds = seconds
        self._end_turn = end_turn
        self._audit = audit
        self._guesses = Guesses()
        self.access = Access()
        self.refused: Counter[tuple[str, str]] = Counter()
        self.wrong_tokens = 0
        self.waiting: dict[Peer, Callable[[], None]] = {}
        self._rights: dict[str, IdentityRights] = {}
        # What peers have shown, of those only that have shown something.
        self._tokens: dict[Peer, Token] = {}
        self._certificates: dict[Peer, CertificateNames] = {}
        self._logins: dict[Peer, Login] = {}
        self._turned_away: set[Peer] = set()
        # Each with the name of its identity.
        self._stand_ins: dict[Peer, str] = {}
        # Whether there may still be peers that are nobody and were served as such.
        self._admitted_nobody = True

    # Peers come and go

    def arrived(self, peer: Peer) -> None:
        """
        A peer is there: its address may say who it is.

        @raise AccessDenied: it may not stay, and may do nothing until it has gone.
        """
        if self.access.is_empty:
            return
        try:
            self._judge(peer)
        except AccessDenied:
            # What it has sent ahead may be read before it is told.
            peer.rights = NO_RIGHTS
            raise

    def secured(self, peer: Peer, transport: Any) -> None:
        """
        The TLS handshake with a peer is over, so that it may have shown a certificate, which was verified.

        @param transport: the connection.
        @raise AccessDenied: it may not stay.
        """
        certificate = transport.getPeerCertificate()
        if certificate is not None:
            from txgear.security.certificates import names_of

            try:
                self._certificates[peer] = names_of(certificate.to_cryptography())
            except ValueError as error:
                self.log.info("{peer}: its certificate cannot be read: {error}", peer=peer.name, error=error)
        elif peer.rights is not NO_RIGHTS:
            return
        if not self.access.is_empty:
            self._judge(peer)

    def left(self, peer: Peer) -> None:
        """A peer has gone."""
        for found in (self._tokens, self._certificates, self._logins, self.waiting):
            found.pop(peer, None)
        self._turned_away.discard(peer)

    def must_identify(self, peer: Peer) -> bool:
        """Whether a peer is nobody, and the rules leave nobody anything to do."""
        return not self.access.admits_nobody and self.login_of(peer) is UNKNOWN

    def login_of(self, peer: Peer) -> Login:
        """Who a peer is."""
        return self._logins.get(peer, UNKNOWN)

    def login(self, peer: Peer, token: bytes) -> str:
        """
        A peer has sent a token.

        @return: the name of its identity.
        @raise AccessDenied: nobody has this token, or the identity may have no more connections. The peer
            is who it was before.
        """
        return self._show(peer, self.known(token))

    def known(self, token: bytes) -> Token:
        """
        What is kept of a token that somebody has brought.

        @raise AccessDenied: nobody has this token.
        """
        claimed = Token.of(token)
        if claimed is None or self.access.by_token(claimed) is None:
            name = b"" if claimed is None else claimed.id.encode("ascii")
            raise WrongToken("This token is not known", act=LOGIN, name=name)
        return claimed

    def _show(self, peer: Peer, claimed: Token) -> str:
        """
        A peer has shown a token that is known.

        @return: the name of its identity.
        @raise AccessDenied: the identity may have no more connections. The peer is who it was before.
        """
        before = self._tokens.get(peer)
        self._tokens[peer] = claimed
        try:
            return self._judge(peer)
        except AccessDenied:
            if before is None:
                del self._tokens[peer]
            else:
                self._tokens[peer] = before
            raise

    def request_login(self, peer: Peer, token: Token | None) -> None:
        """
        A request has come on a connection of which each has an identity of its own, as a proxy may carry
        those of many users.

        @param token: what it has brought, and is L{known}. Without one the peer is who its connection says.
        @raise AccessDenied: the identity may have no more connections. The peer is who it was before.
        """
        if token is not None:
            self._show(peer, token)
        elif (before := self._tokens.pop(peer, None)) is not None:
            try:
                self._judge(peer)
            except AccessDenied:
                self._tokens[peer] = before
                raise

    def stand_in(self, peer: Peer) -> Peer:
        """
        Whoever goes on in a peer's name when that may have gone, until L{dismiss}.

        @return: no peer that is connected. It comes from where the peer does, and has its account; its rights
            are those of its identity, whatever the rules say later.
        """
        found = Peer(peer.descriptor, peer.address)
        found.client_id, found.tenant, found.rights = peer.client_id, peer.tenant, peer.rights
        self._stand_ins[found] = self.login_of(peer).identity
        return found

    def dismiss(self, stand_in: Peer) -> None:
        """Nothing is done in this name any more."""
        del self._stand_ins[stand_in]

    def vouched(self, peer: Peer, identity: str, rules: Sequence[Rule] | None) -> None:
        """
        Another server says who a peer of its own is, for whom something is to be done here. L{left} follows.

        @param identity: the name of its identity; L{NOBODY} for none.
        @param rules: those of the other server that are for it; C{None} where there are none for anybody.
        """
        if identity != NOBODY:
            self._logins[peer] = Login(identity, SERVER)
            peer.tenant = self._broker.tenants.get(identity)
        if rules is not None:
            rights = IdentityRights(identity)
            rights.replace(Access([Identity(identity)], rules).rules_for(identity))
            peer.rights = rights

    def rules_of(self, peer: Peer) -> list[Rule] | None:
        """The rules that are for a peer; C{None} where there are none for anybody."""
        if peer.rights is None:
            return None
        identity = self.login_of(peer).identity
        return [rule for rule in self.access.rules if rule.is_for(identity)]

    # Judging

    def _judge(self, peer: Peer) -> str:
        """
        Find out who a peer is, and let it have the rights and the account of that identity.

        @return: the name of the identity.
        @raise AccessDenied: that has as many connections as it may. The peer is who it was before.
        """
        access = self.access
        found = self._identify(peer)
        name = found.identity
        before = peer.tenant
        self._broker.identify(peer, None if name == NOBODY else self._broker.tenants.get(name))
        peer.rights = self._rights_of(name) if access.rules else None
        if found is UNKNOWN:
            self._logins.pop(peer, None)
        else:
            self._logins[peer] = found
        if peer.abilities or peer.running:
            self._broker.rejudge(peer, self._seconds())
        if peer.attached and peer.tenant is before:
            # What it has submitted as somebody else is its own, too.
            self._broker.departures.leave_unseen(peer, self._seconds())
        if (look_again := self.waiting.get(peer)) is not None:
            look_again()
        return name

    def _identify(self, peer: Peer) -> Login:
        access = self.access
        if (token := self._tokens.get(peer)) is not None and (name := access.by_token(token)) is not None:
            return Login(name, TOKEN)
        if (names := self._certificates.get(peer)) is not None:
            found = access.by_certificate(names)
            if len(found) == 1:
                return Login(found[0], CERTIFICATE)
            if found:
                self._notices.emit(
                    self.log,
                    LogLevel.warn,
                    (CERTIFICATE, peer.address),
                    "{address}: its certificate names several identities, {names}; it is none of them",
                    address=peer.address,
                    names=", ".join(found),
                )
        if (at := access.by_address(peer.address)) is not None:
            return Login(at, ADDRESS)
        return UNKNOWN

    def _rights_of(self, name: str) -> IdentityRights:
        rights = self._rights.get(name)
        if rights is None:
            rights = self._rights[name] = IdentityRights(name)
            rights.replace(self.access.rules_for(name))
        return rights

    # The file has been read again

    def replace(self, access: Access) -> None:
        """
        Let these identities and rules hold from now on, for those who are connected as well. What an
        identity may do has changed when this returns. Who is gone, and who works for a function that it
        may not work for any more, is found soon, some hundreds of peers in each turn.

        @param access: identities and rules.
        """
        before, self.access = self.access, access
        if before.is_empty and access.is_empty:
            return
        for name, rights in list(self._rights.items()):
            rights.replace(access.rules_for(name))
            if not (name in access.identities or name in before.identities or name == NOBODY):
                # Whoever was known by that name had been hung up on by the time of this change.
                del self._rights[name]
        for stand_in, name in self._stand_ins.items():
            stand_in.rights = self._rights_of(name) if access.rules else None
        quotas = {identity.name: identity.quota for identity in access.identities.values()}
        self._broker.tenants.set_quotas(quotas, self._seconds())
        self._admitted_nobody = self._admitted_nobody or before.admits_nobody
        review = self._cooperator.coiterate(self._review(access, list(self._broker.peers)))
        # Where the server stops there is nobody to be judged any more.
        _ = review.addErrback(lambda failure: failure.trap(SchedulerStopped))

    def _review(self, access: Access, peers: list[Peer]) -> Iterator[None]:
        for peer in peers:
            if self.access is not access:
                # They are judged anew by others.
                return
            if peer.connected and peer not in self._turned_away:
                self._review_one(peer)
            yield
        self._admitted_nobody = access.admits_nobody

    def _review_one(self, peer: Peer) -> None:
        was = self.login_of(peer).identity
        try:
            is_now = self._judge(peer)
        except AccessDenied as error:
            self.turn_away(peer, error)
            return
        # Who had to identify itself before this has its ten seconds still.
        forbidden = self._admitted_nobody and not self.access.admits_nobody
        if is_now == NOBODY and (was != NOBODY or forbidden):
            self.turn_away(peer, AccessDenied("Not known any more: log in again", act=LOGIN))
            return
        self._end_turn()

    # Refusals

    def turn_away(self, peer: Peer, error: AccessDenied) -> None:
        """
        Tell a peer that it may not stay, and end its connection.

        @param error: what it is told.
        """
        if peer in self._turned_away:
            return
        self._turned_away.add(peer)
        self.denied(peer, error)
        self._outbox.send(peer, ERROR, error.code.encode("ascii"), error.text.encode("utf-8"))
        self._outbox.afterwards(peer, self._outbox.line_of(peer).close)
        self._end_turn()

    def refusals(self) -> dict[str, int]:
        """How often each identity was refused something since the start; L{NOBODY} is one of them."""
        found: dict[str, int] = {}
        for (identity, _), count in self.refused.items():
            found[identity] = found.get(identity, 0) + count
        return found

    def answers(self, peer: Peer, error: AccessDenied) -> bool:
        """
        A peer could not log in.

        @param error: why.
        @return: whether to tell it so. Who guesses again and again from one place is hung up on without a
            word.
        """
        return not isinstance(error, WrongToken) or self._guesses.failed(peer.address, self._seconds())

    def denied(self, peer: Peer, error: AccessDenied) -> None:
        """
        Note that a peer was refused something: count it, log it, and write it into the audit log.

        @param error: what the peer is told.
        """
        identity = self.login_of(peer).identity
        self.refused[identity, error.act] += 1
        self.wrong_tokens += isinstance(error, WrongToken)
        about = {"token" if error.act == LOGIN else "function": error.name or None}
        self._audit().record(error.act, REFUSED, peer, **about, error=error.text)
        if error.act == LOGIN:
            kind: tuple[str, ...] = (LOGIN, peer.address)
        else:
            kind = ("denied", identity, error.act)
        self._notices.emit(
            self.log,
            LogLevel.warn,
            kind,
            "{address} ({client_id}), identity {identity}: {error}",
            address=peer.address,
            client_id=shown(peer.client_id).decode("utf-8"),
            identity=identity,
            # It names what was asked for, which somebody may have mistaken for the place of a token.
            error=without_secrets(error.text.encode("utf-8", "backslashreplace")).decode("utf-8"),
        )
