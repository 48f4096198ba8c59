"""A port that is an endpoint string with TLS."""

from __future__ import annotations

import socket
import ssl
import struct
from pathlib import Path

import pytest

from certificates import certificate
from processes import PATIENCE, Servers, free_port


@pytest.mark.txgear_only
def test_tls(start_server: Servers, tmp_path: Path) -> None:
    """Packets, large ones too, and text commands are answered through TLS; `workers` tells the address."""
    files, authority = certificate(tmp_path)
    port = free_port()
    endpoint = f"ssl:{port}:interface=127.0.0.1:{files}"
    start_server("--listen=127.0.0.1", f"--listen={endpoint}", "--keepalive", "--keepalive-idle=7")
    context = ssl.create_default_context()
    authority.configure_trust(context)
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
