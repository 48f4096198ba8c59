"""Tests of L{txgear.cli.care}."""
