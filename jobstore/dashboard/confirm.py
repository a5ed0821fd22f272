"""Questions: a page that says what will happen, with a form that does it.

A page that offers an action links to its question: ``<a href="…" data-ask>Cancel…</a>``. The
question is a page of its own, requested by GET, which changes nothing; its form is sent to the same
path by POST. With JavaScript, the form is shown in a dialog over the page instead, without any
further code.

Afterwards, a page can confirm it: `done` redirects to the page with a word of `Done` in its query.
"""

from collections.abc import Mapping, Sequence
from dataclasses import field

from aiohttp import web

from jobstore.dashboard.notes import Done
from jobstore.dashboard.pages import here, render, see_other, up
from jobstore.dashboard.visit import Visit
from jobstore.model.frozen import frozen


@frozen(kw_only=True)
class Input:
    """A field of a form.

    Args:
        kind: its HTML type: ``text``, ``number``, ``password`` or ``checkbox``.
        value: its initial value; for a checkbox, the value if ticked.
        required: whether it must be filled in.
        options: the choices, if it is a selection.
        autocomplete: what a browser may fill in, in HTML's word for it; nothing of its own, or a
            new password, if that is not said.
        wrong: what is wrong with what was filled in.
    """

    name: str
    label: str
    kind: str = "text"
    value: str = ""
    required: bool = False
    options: Sequence[str] = ()
    autocomplete: str = ""
    wrong: str = ""


@frozen(kw_only=True)
class Question:
    """A question before an action.

    Args:
        title: its title, such as ``Cancel job 12``.
        told: what will happen, and the worst case, a paragraph each.
        button: the text of the button; "" if there is nothing to do.
        back: the page to return to, as a path below the mount.
        section: its entry in the navigation.
        danger: whether the action is destructive.
        kept: hidden fields, by name.
        inputs: the fields to fill in.
        wrong: why the action failed when it was tried.
        login: the account that a password is of, for browsers that keep passwords.
    """

    title: str
    told: Sequence[str]
    button: str
    back: str = ""
    section: str = "Jobs"
    danger: bool = False
    kept: Mapping[str, str] = field(default_factory=dict)
    inputs: Sequence[Input] = ()
    wrong: str = ""
    login: str = ""


def ask(
    visit: Visit, question: Question, status: int = 200, *, action: str | None = None
) -> web.Response:
    """Ask a question.

    Args:
        status: 409 if the jobs or settings have changed.
        action: the form's path below the mount, if not the question's own.
    """
    return render(
        visit.request,
        "confirm.html",
        status=status,
        question=question,
        action=here(visit.request) if action is None else action,
    )


def done(visit: Visit, word: Done, page: str) -> web.Response:
    """Redirect to a page that says what was done.

    Args:
        page: its path below the mount, without a query.
    """
    return see_other(f"{up(visit.request)}{page}?done={word}")
