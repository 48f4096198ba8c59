"""
What a port can speak: plugins that provide L{txgear.interfaces.IProtocolModule}.

Other distributions add theirs in a folder C{txgear/plugins} without an
C{__init__.py}.
"""

from __future__ import annotations

from twisted.plugin import pluginPackagePaths

__path__.extend(pluginPackagePaths(__name__))
__all__: list[str] = []
