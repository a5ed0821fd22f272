"""Questions: a page says what will happen, and its form does it.

Whoever offers an action links to its question: ``<a href="…" data-ask>Cancel…</a>``. That is a
page of its own, found by GET, which changes nothing; its form comes back to the same path by POST.
Where the script runs, it shows the form in a dialog over the page that has the link instead; for
that, a question needs nothing but this module.

After it was done, a page may say so: `done` leads to it with a word of `Done` in its query.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from aiohttp import web

from jobstore.dashboard.notes import Done
from jobstore.dashboard.pages import here, render, see_other, up
from jobstore.dashboard.visit import Visit


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """Something that has to be filled in, or may be.

    Args:
        kind: what HTML calls its type: ``text``, ``number``, ``password`` or ``checkbox``.
        value: what is in it at first; of a checkbox, what is sent if it is ticked.
        required: whether nothing is done without it.
        options: what can be chosen, if it is one of a few words.
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is asked before something is done.

    Args:
        title: what it is about, such as ``Cancel job 12``.
        told: what will happen and the worst that can, a paragraph each.
        button: what is written on what does it; nothing if there is nothing to be done.
        back: the page to go to instead, by its path below the mount.
        section: the name of the entry in the navigation that it belongs to.
        danger: whether it takes something away.
        kept: what is sent back as it is, by name.
        inputs: those to be filled in.
        wrong: why it was not done when it was tried.
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
        status: 409 if what it was asked about is not what it was.
        action: where the answer goes, by its path below the mount, if not where it was asked.
    """
    return render(
        visit.request,
        "confirm.html",
        status=status,
        question=question,
        action=here(visit.request) if action is None else action,
    )


def done(visit: Visit, word: Done, page: str) -> web.Response:
    """Lead to a page that says what was done.

    Args:
        page: its path below the mount, without a query.
    """
    return see_other(f"{up(visit.request)}{page}?done={word}")
