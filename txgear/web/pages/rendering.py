"""
Templates. A process compiles each once: in small pieces after its start, or when it is needed before that.

To compile the largest takes as long as a few hundred jobs do. So nobody is to wait for that at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, MutableMapping
from functools import cache
from pathlib import Path
from types import CodeType
from typing import Any, Final

from jinja2 import DictLoader, Environment, StrictUndefined, Template
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from txgear.web.pages.formats import FILTERS
from txgear.web.pages.static import Static

FOLDER: Final = Path(__file__).with_name("templates")
# Read while this is imported: whoever has become another user later (--uid) may not be able to.
_SOURCES: Final = {
    path.relative_to(FOLDER).as_posix(): path.read_text("utf-8") for path in FOLDER.rglob("*.html")
}
_STATIC: Final = Static()


class _Loader(DictLoader):
    """
    Has the code of those that were compiled before they were asked for.
    """

    def __init__(self) -> None:
        super().__init__(_SOURCES)
        self.codes: dict[str, CodeType] = {}

    def load(
        self, environment: Environment, name: str, globals: MutableMapping[str, Any] | None = None
    ) -> Template:
        """Part of C{DictLoader}."""
        code = self.codes.get(name)
        if code is None:
            return super().load(environment, name, globals)
        return environment.template_class.from_code(environment, code, {} if globals is None else globals)


class Templates:
    """
    All of them.

    @ivar static: the files that pages load beside themselves.
    """

    def __init__(self) -> None:
        self.static = _STATIC
        self._loader = _Loader()
        self._environment = Environment(
            loader=self._loader,
            autoescape=True,
            auto_reload=False,
            trim_blocks=True,
            lstrip_blocks=True,
            undefined=StrictUndefined,
        )
        self._environment.filters.update(FILTERS)
        self._environment.globals["static"] = self.static.url

    def render(self, template: str, values: Mapping[str, Any]) -> str:
        """A page."""
        return self._environment.get_template(template).render(values)

    def fragment(self, template: str, macro: str, **values: Any) -> str:
        """What a macro of a template makes."""
        return str(getattr(self._environment.get_template(template).module, macro)(**values))

    def compile(self) -> Iterator[None]:
        """Compile those that are not, in pieces of some milliseconds."""
        environment, codes = self._environment, self._loader.codes
        for name in self._loader.list_templates():
            if name not in codes:
                source, file = _SOURCES[name], str(FOLDER / name)
                tree = environment.parse(source, name, file)
                yield
                text = environment.compile(tree, name, file, raw=True)
                yield
                codes[name] = compile(text, file, "exec")
                yield


templates: Callable[[], Templates] = cache(Templates)
"""Those of this process."""


class Preparation:
    """
    Has the templates compiled when the server has started, a piece in each turn of the reactor.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._timer: IDelayedCall | None = None
        self._steps: Iterator[None] = iter(())

    def start(self) -> None:
        """Part of L{txgear.web.web.Part}."""
        self._steps = templates().compile()
        self._timer = self._clock.callLater(0, self._step)

    def _step(self) -> None:
        done = next(self._steps, self) is self
        self._timer = None if done else self._clock.callLater(0, self._step)

    def stop(self) -> None:
        """Part of L{txgear.web.web.Part}."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
