"""
The user that the server becomes.
"""

from __future__ import annotations

import os
import pwd

from txgear.errors import ConfigurationError


def find_user(name: str) -> int:
    """
    @param name: a user's name or number.
    @return: the number.
    @raise ConfigurationError: there is no such user, or we may not become it.
    """
    try:
        user = pwd.getpwuid(int(name)) if name.isdecimal() else pwd.getpwnam(name)
    except (KeyError, OverflowError) as error:
        raise ConfigurationError(f"there is no user {name}") from error
    if os.geteuid() not in (0, user.pw_uid):
        raise ConfigurationError(f"only root can become the user {name}")
    return user.pw_uid
