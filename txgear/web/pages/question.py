"""
What cannot be undone is asked for twice: by the script of a page, and by a page where there is no script.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

from txgear.web.answers import Answer, Problem
from txgear.web.pages.asked import takes_html
from txgear.web.pages.forms import Form
from txgear.web.pages.pages import Pages

if TYPE_CHECKING:
    from txgear.web.request import WebRequest

FIELD: Final = "sure"
YES: Final = "yes"


def is_sure(form: Form) -> bool:
    """Whether who sends a form has been asked, and means it."""
    return form.get(FIELD) == YES


def ask(
    pages: Pages,
    request: WebRequest,
    *,
    title: str,
    warning: str,
    button: str,
    action: str,
    back: str,
    fields: Mapping[str, str] | None = None,
    handles: Sequence[str] = (),
    place: str = "",
) -> Answer:
    """
    A page that asks whether something is meant.

    @param title: the question.
    @param warning: what becomes of it.
    @param button: what stands on the button that does it.
    @param action: the address that the form is sent to again,
    @param fields: with these, and
    @param handles: for these jobs.
    @param back: the address of the page that one comes from.
    @param place: the path of the entry of the navigation that it belongs to.
    @raise Problem: who asks for no page has to say at once that it is meant.
    """
    if not takes_html(request):
        raise Problem(409, "not_sure", f"This cannot be undone: say {FIELD}={YES}")
    return pages.show(
        request,
        "question.html",
        title=title,
        warning=warning,
        button=button,
        action=action,
        back=back,
        fields={**(fields or {}), FIELD: YES},
        handles=handles,
        place=place,
    )
