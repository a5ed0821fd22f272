"""The start of the server that this process is: whose claims are its own."""

from dataclasses import dataclass


@dataclass(slots=True, eq=False)
class OwnBoot:
    """The number of this start of the server, which stands in each claim that it makes.

    A file has one for as long as it is open. A node that the others have declared dead starts
    again, with another number: what it had claimed before is not its own any more.

    Attributes:
        number: 0 where no server runs.
        shared: whether other nodes work on the same store.
    """

    number: int = 0
    shared: bool = False
