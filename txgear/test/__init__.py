"""Unit tests: C{trial txgear}. No sockets, no sleeping, no global reactor."""
