"""
TLS, identities, and access rules.
"""
