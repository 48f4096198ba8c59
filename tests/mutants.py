"""
Defects that the unit tests of the access rules are to notice: see C{test_mutants}.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Mutant:
    """
    One defect.

    @ivar name: what is wrong.
    @ivar file: where, within the package.
    @ivar right: the text that is right, which is there once.
    @ivar wrong: what takes its place.
    @ivar tests: the modules of unit tests that are to fail, within C{txgear.test}, parted by blanks.
    """

    name: str
    file: str
    right: str
    wrong: str
    tests: str


ALLOW_FIRST: Final = """
        for each in self._allows:
            if each.covers(act, function):
                return Decision(True, each.rule)
        for each in self._denies:
            if each.covers(act, function):
                return Decision(False, each.rule)
"""
DENY_FIRST: Final = """
        for each in self._denies:
            if each.covers(act, function):
                return Decision(False, each.rule)
        for each in self._allows:
            if each.covers(act, function):
                return Decision(True, each.rule)
"""
MUTANTS: Final = (
    # The decision.
    Mutant("deny does not win", "security/access.py", DENY_FIRST, ALLOW_FIRST, "security.test_access"),
    Mutant(
        "nothing is denied",
        "security/access.py",
        "[each for each in rules if not each.rule.allow]",
        "[]",
        "security.test_access",
    ),
    Mutant(
        "what no rule is for is allowed",
        "security/access.py",
        "        return Decision(False, None)\n",
        "        return Decision(True, None)\n",
        "security.test_access",
    ),
    Mutant(
        "the beginning of a function's name will do",
        "security/access.py",
        "pattern.fullmatch(function)",
        "re.match(pattern.pattern.removesuffix(rb'\\Z'), function)",
        "security.test_access",
    ),
    Mutant(
        "a function's name without regard to capitals",
        "security/access.py",
        "pattern.fullmatch(function)",
        "re.fullmatch(pattern.pattern, function, re.IGNORECASE)",
        "security.test_access",
    ),
    Mutant(
        "the beginning of an identity's name will do",
        "security/access.py",
        "any(fnmatch.fnmatchcase(identity, pattern) for pattern in self.identities)",
        "any(fnmatch.fnmatchcase(identity, pattern + '*') for pattern in self.identities)",
        "security.test_access",
    ),
    Mutant(
        "a pattern is for nobody",
        "security/access.py",
        "            return NOBODY in self.identities\n",
        "            pass\n",
        "security.test_access",
    ),
    Mutant(
        "an act counts for another one",
        "security/access.py",
        "        if act not in self.rule.acts:\n",
        "        if not self.rule.acts:\n",
        "security.test_access",
    ),
    Mutant(
        "an identity that is gone keeps its rules",
        "security/access.py",
        "known and each.rule.is_for(identity)",
        "each.rule.is_for(identity)",
        "security.test_access",
    ),
    Mutant(
        "a decision counts for all functions",
        "security/access.py",
        "self._known.get((act, function))",
        "next((known for (of, _), known in self._known.items() if of == act), None)",
        "security.test_access",
    ),
    Mutant(
        "a decision is remembered when the rules change",
        "security/access.py",
        "        self._decisions = decisions\n        self._forget()\n",
        "        self._decisions = decisions\n",
        "security.test_access",
    ),
    Mutant(
        "who could submit can still when the rules have changed",
        "security/access.py",
        "        self.submits.clear()\n",
        "",
        "security.test_access",
    ),
    Mutant(
        "who may do something else may submit",
        "security/access.py",
        "            if known and act == SUBMIT:\n",
        "            if known:\n",
        "security.test_access",
    ),
    Mutant(
        "who was refused once may submit",
        "security/access.py",
        "            if known and act == SUBMIT:\n",
        "            if act == SUBMIT:\n",
        "security.test_access",
    ),
    # Who it is.
    Mutant(
        "a token is its ID",
        "security/tokens.py",
        "compare_digest(digest, token.digest)",
        "identity is not None",
        "security.test_tokens",
    ),
    Mutant(
        "a token's digest does not depend on its ID",
        "security/tokens.py",
        "sha256(token).digest()",
        "sha256(token[13:]).digest()",
        "security.test_tokens",
    ),
    Mutant(
        "any field of a certificate counts",
        "security/access.py",
        "values = names.values(self.certificate_field)",
        "values = [value for field in ('dns', 'uri', 'email', 'cn') for value in names.values(field)]",
        "security.test_access",
    ),
    Mutant(
        "the first of several identities of a certificate counts",
        "server/guard.py",
        "            if len(found) == 1:\n",
        "            if found:\n",
        "server.test_guard_certificates",
    ),
    Mutant(
        "a certificate counts for its beginning",
        "security/access.py",
        "self._certificates[value] for value in values if value in self._certificates",
        "name for value in values for known, name in self._certificates.items() if value.startswith(known)",
        "security.test_access",
    ),
    Mutant(
        "an address counts before a token",
        "server/guard.py",
        "        access = self.access\n        if (token",
        "        access = self.access\n"
        "        if (at := access.by_address(peer.address)) is not None:\n"
        "            return Login(at, ADDRESS)\n"
        "        if (token",
        "server.test_guard",
    ),
    Mutant(
        "the largest range of addresses counts",
        "security/addresses.py",
        "in self._sizes:",
        "in reversed(self._sizes):",
        "security.test_addresses",
    ),
    Mutant(
        "who has not logged in stays so until a request is done",
        "server/guard.py",
        "return not self.access.admits_nobody and self.login_of(peer) is UNKNOWN",
        "return False",
        "server.test_guard",
    ),
    Mutant(
        "who may not stay may do something before it is told",
        "server/guard.py",
        "            peer.rights = NO_RIGHTS\n",
        "",
        "server.test_guard",
    ),
    Mutant(
        "a token stays for the next request of another user",
        "server/guard.py",
        "elif (before := self._tokens.pop(peer, None)) is not None:",
        "elif (before := None) is not None:",
        "server.test_httprequest_rights",
    ),
    Mutant(
        "a certificate counts only when it is shown",
        "server/guard.py",
        "if (names := self._certificates.get(peer)) is not None:",
        "if (names := self._certificates.pop(peer, None)) is not None:",
        "server.test_guard_certificates",
    ),
    Mutant(
        "a token in a client id is shown",
        "server/gear.py",
        "without_secrets(client_id[:MAX_CLIENT_ID])",
        "client_id[:MAX_CLIENT_ID]",
        "server.test_guard",
    ),
    Mutant(
        "guesses are answered however many there are",
        "security/guesses.py",
        "answered = free_at - now <= (AT_ONCE - 1) * SECONDS",
        "answered = True",
        "security.test_guesses server.test_guard",
    ),
    Mutant(
        "a token in a second header counts over HTTP",
        "server/httpexchange.py",
        "    if len(values) > 1:\n",
        "    if False:\n",
        "server.test_httprequest_rights",
    ),
    Mutant(
        "a connection without a log-in may send as much as others",
        "server/gearconnection.py",
        "        self.decoder.limit = LOGIN_BYTES\n",
        "",
        "server.test_guard",
    ),
    Mutant(
        "a connection without a log-in may stay",
        "server/gearconnection.py",
        "self._timer = self._clock.callLater(LOGIN_SECONDS, self._login_overdue)\n\n    def _login_overdue",
        "pass\n\n    def _login_overdue",
        "server.test_guard",
    ),
    Mutant(
        "a connection without a log-in is served",
        "server/gearconnection.py",
        "        self.requests = self.before_login  # type: ignore[misc]\n",
        "",
        "server.test_guard",
    ),
    # Jobs.
    Mutant(
        "a submit without its right",
        "broker/broker.py",
        "check(client, SUBMIT, name)",
        "pass",
        "broker.test_broker_tenants server.test_gear_rights server.test_guard",
    ),
    Mutant(
        "work without its right",
        "broker/broker.py",
        "        check(peer, WORK, name)\n",
        "",
        "server.test_gear_rights server.test_guard",
    ),
    Mutant(
        "a job is joined without SEE",
        "broker/broker.py",
        "        check_join(client, job)\n",
        "",
        "broker.test_broker_tenants",
    ),
    Mutant(
        "a job that is done is joined without SEE",
        "broker/broker.py",
        "check_join(client, done)",
        "pass",
        "broker.test_broker_tenants",
    ),
    Mutant(
        "nobody's jobs are everybody's to join",
        "broker/rights.py",
        "if peer.tenant is None or job.tenant is not peer.tenant:",
        "if job.tenant is not peer.tenant:",
        "broker.test_rights broker.test_broker_tenants",
    ),
    Mutant(
        "status by handle without SEE",
        "server/clientrequests.py",
        "sees(connection.peer, connection.broker.table.by_handle(handle))",
        "connection.broker.table.by_handle(handle)",
        "server.test_gear_rights",
    ),
    Mutant(
        "status by unique without SEE",
        "server/clientrequests.py",
        "by_unique(unique, seen_by(connection.peer))",
        "by_unique(unique)",
        "server.test_gear_rights",
    ),
    Mutant(
        "a result by unique without SEE",
        "server/extension.py",
        "broker.named(function, unique, seen_by(self._peer))",
        "broker.named(function, unique)",
        "server.test_extension_rights",
    ),
    Mutant(
        "a result without SEE",
        "server/extension.py",
        "        if not knows(peer, job.function):\n",
        "        if False:\n",
        "server.test_extension_rights",
    ),
    Mutant(
        "a result without READ",
        "server/extension.py",
        "check(peer, READ, job.function.name)",
        "pass",
        "server.test_extension_rights",
    ),
    Mutant(
        "a result that was waited for, when READ is lost",
        "server/extension.py",
        "        job = self._take_watched(token)\n        if self._may_read(token, job.handle, job):\n",
        "        job = self._take_watched(token)\n        if True:\n",
        "server.test_extension_rights",
    ),
    # Lists and text commands.
    Mutant(
        "a workload without READ",
        "server/textcommands.py",
        "    check(peer, READ, job.function.name)\n    if job.ended and",
        "    if job.ended and",
        "server.test_textcommands_rights",
    ),
    Mutant(
        "a result as text without READ",
        "server/textcommands.py",
        "    check(peer, READ, job.function.name)\n    if not job.ended:\n",
        "    if not job.ended:\n",
        "server.test_textcommands_rights",
    ),
    Mutant(
        "a job in a list without SEE",
        "server/textcommands.py",
        "job.ended or (peer.rights is not None and not knows(peer, job.function))",
        "job.ended",
        "server.test_textcommands_rights",
    ),
    Mutant(
        "a function in a list without SEE",
        "server/textcommands.py",
        'b"%s\\n" % line(function) if peer.rights is None or knows(peer, function) else b""',
        'b"%s\\n" % line(function)',
        "server.test_textcommands_rights",
    ),
    Mutant(
        "a page of jobs without SEE",
        "broker/search.py",
        "matches(function.name) is not None and knows(peer, function)",
        "matches(function.name) is not None",
        "broker.test_inspection_rights broker.test_search",
    ),
    Mutant(
        "a job by its handle without SEE",
        "broker/inspection.py",
        "            return sees(peer, job)\n",
        "            return job\n",
        "broker.test_inspection_rights server.test_textcommands_rights",
    ),
    Mutant(
        "who is connected without PEERS",
        "broker/rights.py",
        "    return peer.rights.may(PEERS)\n",
        "    return True\n",
        "broker.test_rights broker.test_rights_shown server.test_textcommands_rights",
    ),
    Mutant(
        "connections without PEERS",
        "broker/connections.py",
        "    if not may(peer, PEERS):\n",
        "    if False:\n",
        "broker.test_connections_rights",
    ),
    Mutant(
        "an operator's act for a job without its right",
        "server/operatorcommands.py",
        "        check(peer, act, job.function.name)\n",
        "        pass\n",
        "server.test_textcommands_rights",
    ),
    Mutant(
        "an operator's act for a function without its right",
        "broker/rights.py",
        "found = [name for name in (first, *others) if peer.rights.may(act, name)]",
        "found = [first, *others]",
        "broker.test_rights broker.test_rights_shown",
    ),
    Mutant(
        "drop without its right",
        "server/operatorcommands.py",
        "        raise denied(DROP, function.name)\n",
        "        return True\n",
        "server.test_textcommands_rights",
    ),
    Mutant(
        "shutdown without its right",
        "server/operatorcommands.py",
        "    check(peer, SHUTDOWN)\n",
        "",
        "server.test_textcommands_rights",
    ),
    Mutant(
        "a result that was read, when READ is lost",
        "server/textcommands.py",
        "    check(peer, READ, job.function.name)\n    if facts is None:",
        "    if facts is None:",
        "server.test_textcommands_rights",
    ),
    Mutant(
        "a result that was read, when SEE is lost",
        "server/textcommands.py",
        "    if not knows(peer, job.function):\n        return textlines.UNKNOWN_JOB\n    check",
        "    check",
        "server.test_textcommands_rights",
    ),
    Mutant(
        "the last words of workers without READ",
        "broker/inspection.py",
        "names, words = may(peer, PEERS), reads(peer, job.function)",
        "names, words = may(peer, PEERS), True",
        "broker.test_inspection_rights",
    ),
    Mutant(
        "the names of workers without PEERS",
        "broker/inspection.py",
        "names, words = may(peer, PEERS), reads(peer, job.function)",
        "names, words = True, reads(peer, job.function)",
        "broker.test_inspection_rights",
    ),
    Mutant(
        "who runs a job without PEERS",
        "broker/inspection.py",
        "if job.worker is not None and meets(peer, job.worker) else",
        "if job.worker is not None else",
        "broker.test_inspection_rights",
    ),
    Mutant(
        "a text is looked for in workloads without READ",
        "broker/inspection.py",
        "            if not reads(peer, job.function):\n"
        "                return work, None\n"
        "            work += min(len(job.workload)",
        "            work += min(len(job.workload)",
        "broker.test_inspection_rights",
    ),
    Mutant(
        "a text is looked for in results without READ",
        "broker/inspection.py",
        "            if not reads(peer, job.function):\n"
        "                return work, None\n"
        "            result =",
        "            result =",
        "broker.test_inspection_rights",
    ),
    Mutant(
        "a text is looked for in last words without READ",
        "broker/inspection.py",
        "readable = reads(peer, job.function)",
        "readable = True",
        "broker.test_inspection_rights",
    ),
    Mutant(
        "what holds for a function without SEE",
        "broker/inspection.py",
        "    if function is not None and not knows(peer, function):\n        function = None\n",
        "",
        "broker.test_inspection_rights",
    ),
    Mutant(
        "a page of functions without SEE",
        "server/textcommands.py",
        '        if not knows(peer, function):\n            return b""\n',
        "",
        "server.test_textcommands_rights",
    ),
    Mutant(
        "functions of other workers without SEE",
        "server/textcommands.py",
        "known = peer.rights is None or knows(peer, function)",
        "known = True",
        "server.test_textcommands_rights",
    ),
    Mutant(
        "functions of connections without SEE",
        "broker/connections.py",
        "functions = [function for function in functions if knows(peer, function)]",
        "pass",
        "broker.test_connections_rights",
    ),
    Mutant(
        "workers without PEERS",
        "server/textcommands.py",
        "            if not meets(peer, other):\n",
        "            if False:\n",
        "server.test_textcommands_rights",
    ),
    Mutant(
        "identities without PEERS",
        "server/textcommands.py",
        "    if not may(peer, PEERS):\n        own",
        "    if False:\n        own",
        "server.test_textcommands_rights server.test_guard",
    ),
    Mutant(
        "a schedule without SEE",
        "server/textcommands.py",
        '        if may(peer, SEE, found["function"])\n',
        "",
        "server.test_textcommands_rights",
    ),
    Mutant(
        "settings without SETTINGS",
        "server/textcommands.py",
        "_settings(server: JobServer, peer: Peer, words: list[bytes]) -> bytes:\n    check(peer, SETTINGS)\n",
        "_settings(server: JobServer, peer: Peer, words: list[bytes]) -> bytes:\n",
        "server.test_textcommands_rights",
    ),
    # HTTP.
    Mutant(
        "HTTP without its right",
        "server/httpexchange.py",
        "        check(peer, HTTP)\n",
        "",
        "server.test_httprequest_rights server.test_http_rights",
    ),
    Mutant(
        "HEAD without SEE",
        "server/httprequest.py",
        "known is not None and knows(self._connection.peer, known)",
        "known is not None",
        "server.test_httprequest_rights",
    ),
    Mutant(
        "a job met by chance over HTTP",
        "server/httprequest.py",
        'UNIQUE_FROM_WORKLOAD if sees else b""',
        "UNIQUE_FROM_WORKLOAD",
        "server.test_httprequest_rights",
    ),
    # The web.
    Mutant(
        "a web site whose name leads here is answered",
        "web/web.py",
        "if asked is not None and not channel.hosts.has(asked.host, channel.local_address):",
        "if False:",
        "web.test_web",
    ),
    Mutant(
        "pages of other web sites change something",
        "web/web.py",
        "        if not self._origins.may_change(origin, site, asked, request.isSecure()):\n",
        "        if False:\n",
        "web.test_web",
    ),
    Mutant(
        "the web asks nobody who it is",
        "web/web.py",
        "            request.login()\n",
        "",
        "web.test_web",
    ),
    Mutant(
        "a web that is open for all is served without rules",
        "web/web.py",
        "            self._check_open()\n",
        "",
        "web.test_web",
    ),
    # The file is read again.
    Mutant(
        "new rules are not for those who are connected",
        "server/guard.py",
        "            rights.replace(access.rules_for(name))\n            if not",
        "            if not",
        "server.test_guard",
    ),
    Mutant(
        "those who are connected are not judged anew",
        "server/guard.py",
        "self._review(access, list(self._broker.peers))",
        "self._review(access, [])",
        "server.test_guard",
    ),
    Mutant(
        "who is not known any more stays",
        "server/guard.py",
        "        if is_now == NOBODY and (was != NOBODY or forbidden):\n",
        "        if False:\n",
        "server.test_guard",
    ),
    Mutant(
        "a worker keeps a function for which it may not work any more",
        "server/guard.py",
        "        if peer.abilities:\n            self._broker.rejudge(peer, self._seconds())\n",
        "",
        "server.test_guard",
    ),
    Mutant(
        "who has joined a job hears of it still, though he may not see it any more",
        "server/guard.py",
        "            self._broker.leave_unseen(peer, self._seconds())\n",
        "            pass\n",
        "server.test_guard_certificates",
    ),
    Mutant(
        "a peer that becomes somebody else loses the jobs that it has submitted",
        "server/guard.py",
        "if peer.attached and peer.tenant is before:",
        "if peer.attached:",
        "server.test_guard_certificates",
    ),
    Mutant(
        "who has not logged in yet is turned away by each reload",
        "server/guard.py",
        "forbidden = self._admitted_nobody and not self.access.admits_nobody",
        "forbidden = True",
        "server.test_guard",
    ),
    Mutant(
        "nobody stays when nobody may do anything any more",
        "server/guard.py",
        "forbidden = self._admitted_nobody and not self.access.admits_nobody",
        "forbidden = False",
        "server.test_guard",
    ),
    Mutant(
        "a worker keeps the jobs of a function for which it may not work",
        "broker/broker.py",
        "if lost := [function for function in peer.abilities if not may(peer, WORK, function.name)]:",
        "if lost := [function for function in peer.abilities if False]:",
        "server.test_guard",
    ),
    Mutant(
        "what was joined stays joined, though it may not be seen any more",
        "broker/broker.py",
        "if job.tenant is not tenant and not knows(peer, job.function)]",
        "if False]",
        "broker.test_broker_joined",
    ),
    # What operators do to jobs.
    Mutant(
        "a task does not ask for each job",
        "broker/bulkacts.py",
        "        check(act.asker, order.act, job.function.name)\n",
        "",
        "broker.test_bulkacts",
    ),
    Mutant(
        "a task moves jobs to where it may not",
        "broker/bulkacts.py",
        "            check(act.asker, MOVE, order.function)\n",
        "",
        "broker.test_bulkacts",
    ),
    Mutant(
        "a task goes on with what may not be seen any more",
        "broker/bulkacts.py",
        " and knows(act.asker, job.function)",
        "",
        "broker.test_bulkacts",
    ),
    Mutant(
        "everybody stops everybody's tasks",
        "server/tasks.py",
        "        check(peer, SHUTDOWN)\n",
        "        pass\n",
        "server.test_taskcommands web.api.test_tasks",
    ),
    Mutant(
        "everybody sees everybody's tasks",
        "server/tasks.py",
        "    return _own(peer, task) or meets(peer, task.asker)\n",
        "    return True\n",
        "server.test_taskcommands web.api.test_tasks",
    ),
    Mutant(
        "a task keeps the rights of when it began",
        "server/guard.py",
        "            stand_in.rights = self._rights_of(name) if access.rules else None\n",
        "            pass\n",
        "web.api.test_tasks",
    ),
    Mutant(
        "everybody corrects",
        "web/api/acts.py",
        "        job = self._job(request, CORRECT, handle)\n",
        "        job = self._job(request, PRIORITISE, handle)\n",
        "web.api.test_acts",
    ),
    Mutant(
        "metrics without METRICS",
        "web/metrics.py",
        "        check(request.peer, METRICS)\n",
        "",
        "web.test_metrics",
    ),
)
