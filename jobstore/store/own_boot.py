"""This process as a start of the server: which claims are its own."""

from dataclasses import dataclass


@dataclass(slots=True, eq=False)
class OwnBoot:
    """The number of this start of the server, which is stored in each of its claims.

    A file has one number for as long as it is open. A node that the others declared dead starts
    again with a new number; its earlier claims are no longer its own.

    Attributes:
        number: 0 where no server runs.
        shared: whether other nodes work on the same store.
    """

    number: int = 0
    shared: bool = False
