"""A port that is an endpoint string with TLS."""

from __future__ import annotations

import datetime
import socket
import ssl
import struct
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from processes import PATIENCE, Servers, free_port


def certificate(folder: Path) -> tuple[Path, Path]:
    """A key and a certificate that it has signed itself, for localhost."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.timezone.utc)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    key_path, certificate_path = folder / "key.pem", folder / "certificate.pem"
    key_path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    certificate_path.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    return key_path, certificate_path


@pytest.mark.txgear_only
def test_tls(start_server: Servers, tmp_path: Path) -> None:
    """Packets, large ones too, and text commands are answered through TLS; `workers` tells the address."""
    key, trusted = certificate(tmp_path)
    port = free_port()
    endpoint = f"ssl:{port}:interface=127.0.0.1:privateKey={key}:certKey={trusted}"
    start_server("--listen=127.0.0.1", f"--listen={endpoint}", "--keepalive", "--keepalive-idle=7")
    context = ssl.create_default_context(cafile=str(trusted))
    with (
        socket.create_connection(("127.0.0.1", port), PATIENCE) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as peer,
    ):
        peer.sendall(b"workers\n")
        answer = peer.recv(4096)
        assert b" 127.0.0.1 - :\n" in answer
        assert answer.endswith(b".\n")
        data = bytes(range(256)) * 8192
        peer.sendall(b"\0REQ" + struct.pack(">II", 16, len(data)) + data)
        received = b""
        while len(received) < 12 + len(data):
            received += peer.recv(1 << 20)
        assert received == b"\0RES" + struct.pack(">II", 17, len(data)) + data
