"""When a schedule fires, in words, and what is said of the times at which it fires next."""

from datetime import datetime

import pytest

from jobstore.model.clock import SECOND
from jobstore.model.schedule import CatchUp, Overlap, Schedule, next_fires
from jobstore.model.schedule_words import CATCH_UP, OVERLAP, in_words, told


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp()) * SECOND


@pytest.mark.parametrize(
    ("cron", "words"),
    [
        ("0 3 * * *", "every day at 03:00 UTC"),
        ("30 3,15 * * *", "every day at 03:30 and 15:30 UTC"),
        ("0 3 * * 1", "every Monday at 03:00 UTC"),
        ("0 3 * * MON-FRI", "Monday to Friday at 03:00 UTC"),
        ("0 3 * * 1,2,3,4,5", "Monday to Friday at 03:00 UTC"),
        ("0 3 * * 0,6", "every Saturday and Sunday at 03:00 UTC"),
        ("0 3 * * 7", "every Sunday at 03:00 UTC"),
        ("0 3 * * 0-7", "every day at 03:00 UTC"),
        ("0 3 1 * *", "on the 1st of each month at 03:00 UTC"),
        ("0 3 2,11,22 * *", "on the 2nd, the 11th and the 22nd of each month at 03:00 UTC"),
        ("0 3 L * *", "on the last day of each month at 03:00 UTC"),
        ("0 3 LW * *", "on the last working day of each month at 03:00 UTC"),
        ("0 3 * * 5L", "on the last Friday of each month at 03:00 UTC"),
        ("0 3 * * 2#2", "on the second Tuesday of each month at 03:00 UTC"),
        ("0 3 24 12 *", "on the 24th of the month in December at 03:00 UTC"),
        ("0 3 * JAN,JUL *", "every day in January and July at 03:00 UTC"),
        # Either of the two is enough, unless one of them begins with a star.
        ("0 3 1 * 5", "on the 1st of each month and every Friday at 03:00 UTC"),
        ("0 3 1-31 * 5", "every day at 03:00 UTC"),
        ("0 3 */1 * 5", "every Friday at 03:00 UTC"),
        ("* * * * *", "every minute"),
        ("*/15 * * * *", "every 15 minutes"),
        ("0,30 * * * *", "every 30 minutes"),
        ("0 * * * *", "every hour"),
        ("5 * * * *", "every hour at minute 5"),
        ("5,20 * * * *", "every hour at minutes 5 and 20"),
        ("0 */2 * * *", "every 2 hours"),
        ("20 */4 * * *", "every 4 hours at minute 20"),
        ("*/15 9-17 * * 1-5", "every 15 minutes from 09:00 to 17:45, Monday to Friday, UTC"),
        ("0 9-17 * * *", "every hour from 09:00 to 17:00, every day, UTC"),
        ("*/10 * * 12 *", "every 10 minutes, every day in December, UTC"),
        # What has no few words stays as it is.
        ("0 3 */2 * 1", "0 3 */2 * 1 UTC"),
        ("0 3 1-15 * *", "0 3 1-15 * * UTC"),
        ("*/7 * * * *", "*/7 * * * * UTC"),
        ("*/10 3,9,21 * * *", "*/10 3,9,21 * * * UTC"),
        ("0 3 * * 1,5#2", "0 3 * * 1,5#2 UTC"),
        ("no cron", "no cron UTC"),
    ],
)
def test_an_expression_has_words(cron: str, words: str) -> None:
    assert in_words(Schedule(cron=cron)) == words


def test_its_zone_is_told_where_it_matters() -> None:
    assert in_words(Schedule(cron="0 3 * * *", time_zone="Europe/Berlin")) == (
        "every day at 03:00 Europe/Berlin"
    )
    assert in_words(Schedule(cron="*/5 * * * *", time_zone="Europe/Berlin")) == "every 5 minutes"


def test_the_next_times_tell_of_a_change_of_the_clock() -> None:
    schedule = Schedule(cron="30 2 * * *", time_zone="Europe/Berlin")
    now = at("2026-03-27T12:00:00Z")
    fires = told(schedule, next_fires(schedule, now, 3), now)
    assert [(fire.shown, fire.remark) for fire in fires] == [
        ("Sat 28 Mar 2026, 02:30", ""),
        (
            "Sun 29 Mar 2026, 03:00",
            (
                "the clock is put forward by 1 h before it, and leaves its time out:"
                " it runs right after"
            ),
        ),
        ("Mon 30 Mar 2026, 02:30", ""),
    ]
    autumn = at("2026-10-24T12:00:00Z")
    fires = told(schedule, next_fires(schedule, autumn, 2), autumn)
    assert [(fire.shown, fire.remark) for fire in fires] == [
        ("Sun 25 Oct 2026, 02:30", ""),
        ("Mon 26 Oct 2026, 02:30", "the clock is put back by 1 h before it"),
    ]


def test_a_zone_that_is_not_known_has_no_times() -> None:
    schedule = Schedule(cron="0 3 * * *", time_zone="No/Where")
    assert told(schedule, next_fires(schedule, 0, 5), 0) == []


def test_all_that_can_be_said_has_words() -> None:
    assert set(CATCH_UP) == set(CatchUp)
    assert set(OVERLAP) == set(Overlap)
