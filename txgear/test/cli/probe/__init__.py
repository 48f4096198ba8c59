"""Tests of L{txgear.cli.probe}."""
