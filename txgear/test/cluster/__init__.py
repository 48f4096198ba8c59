"""
Tests for L{txgear.cluster}.
"""
