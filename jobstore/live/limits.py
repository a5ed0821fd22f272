"""The limits of a store: what it is given when it is opened."""

from dataclasses import field

from jobstore.live.owners import OwnerLimits
from jobstore.model.frozen import frozen
from jobstore.model.privacy import SECRET_HEADERS


@frozen(kw_only=True)
class Limits:
    """What a store accepts.

    Args:
        queue: how many jobs may be queued.
        body: the largest request body, in bytes.
        answer: the largest body of a target's answer to a job, in bytes.
        inline: the largest body, in bytes, that is stored in its message's own row.
        size: the largest size of the file in bytes; 0 means no limit.
        secret: lower-case names of request headers to forget when a job ends.
        owner: the limits of one owner.
        depth: the longest chain of jobs that submit jobs.
    """

    queue: int = 100_000
    body: int = 2**30
    answer: int = 2**30
    inline: int = 256 * 1024
    size: int = 0
    secret: frozenset[str] = SECRET_HEADERS
    owner: OwnerLimits = field(default_factory=OwnerLimits)
    depth: int = 8
