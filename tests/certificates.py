"""Certificates for servers that speak TLS on the loopback address."""

from __future__ import annotations

from pathlib import Path

import trustme


def certificate(folder: Path) -> tuple[str, trustme.CA]:
    """A certificate for localhost: what an `ssl:` endpoint says of its files, and who has signed it."""
    authority = trustme.CA()
    issued = authority.issue_cert("localhost")
    key, chain = folder / "key.pem", folder / "certificate.pem"
    issued.private_key_pem.write_to_path(str(key))
    issued.cert_chain_pems[0].write_to_path(str(chain))
    return f"privateKey={key}:certKey={chain}", authority
