"""Where the frames of a WebSocket begin, however they are cut on their way."""

import random
from itertools import pairwise
from typing import Final

from jobstore.http.frames import Frames

LENGTHS: Final = (0, 1, 125, 126, 300, 65_535, 65_536, 200_000)


def frame(size: int, *, masked: bool = False, opcode: int = 2) -> bytes:
    """Write a frame with so many bytes in it."""
    mask = 0x80 if masked else 0
    if size < 126:
        head = bytes((0x80 | opcode, mask | size))
    elif size < 2**16:
        head = bytes((0x80 | opcode, mask | 126)) + size.to_bytes(2, "big")
    else:
        head = bytes((0x80 | opcode, mask | 127)) + size.to_bytes(8, "big")
    return head + bytes(4 if masked else 0) + bytes(size)


def test_it_is_known_where_a_frame_begins_however_they_are_cut() -> None:
    rng = random.Random(1)
    for _ in range(200):
        sent = [
            frame(rng.choice(LENGTHS), masked=rng.random() < 0.5) for _ in range(rng.randint(1, 6))
        ]
        data, ends, passed = b"".join(sent), {0}, Frames()
        for each in sent:
            ends.add(max(ends) + len(each))
        near = [end + rng.randint(-3, 15) for end in (*ends, *ends)]
        cuts = [cut for cut in (*ends, *near) if 0 < cut < len(data) and rng.random() < 0.5]
        for start, end in pairwise(sorted({0, *cuts, len(data)})):
            passed.passed(data[start:end])
            assert passed.between == (end in ends)
        assert not passed.closed


def test_a_close_frame_is_known_between_others() -> None:
    passed = Frames()
    passed.passed(frame(5) + frame(2, opcode=8)[:1])
    assert not passed.closed
    passed.passed(frame(2, opcode=8)[1:])
    assert passed.closed


def test_what_has_too_many_frames_at_once_is_followed_no_more() -> None:
    passed = Frames()
    passed.passed(frame(1) * 32)
    assert passed.between
    passed.passed(frame(1) * 33)
    assert not passed.between
    passed.passed(frame(1))
    assert not passed.between
