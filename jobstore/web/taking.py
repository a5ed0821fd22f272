"""Results for requests at the desk: small ones are sent from there, once they are taken.

The dialect says how a result is serialised, and how a request is answered if there is none.
"""

from collections.abc import Callable
from typing import TypeAlias

from jobstore.live import Delivery, Store, Taking
from jobstore.model.errors import AnswerUnsendable
from jobstore.web import wire
from jobstore.web.ask import Ask

# Writes a result, whose body is in memory, as a whole answer.
Writing: TypeAlias = Callable[[Delivery], bytes]
# Goes on without a result: the job has not ended (None), or this keeps it from being given.
Lacking: TypeAlias = Callable[[Exception | None], None]


def take_for(store: Store, ask: Ask, job_id: int, write: Writing, lacking: Lacking) -> None:
    """Take a result and answer a request with it.

    A result that is too large for the desk goes the long way.

    Args:
        write: serialises it; raises AnswerUnsendable if it cannot be sent over HTTP.
        lacking: answers the request if there is no result.
    """

    def told(taking: Taking, delivery: Delivery | None, error: Exception | None) -> None:
        if delivery is None:
            lacking(error)
        elif taking.is_large:
            taking.over()
            ask.pass_on()
        else:
            hand_over(taking, delivery)

    def hand_over(taking: Taking, delivery: Delivery) -> None:
        try:
            data = write(delivery)
        except AnswerUnsendable as error:
            taking.over(error)
            lacking(error)
        else:
            ask.hand_over(data, taking.over, wire.PIECE_SECONDS)

    store.results.taking(job_id, ask.identity.scope).begin(lambda: ask.gone, told)
