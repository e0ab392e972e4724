"""How many users a batch has, so that a revocation does not wait long."""

from __future__ import annotations

import math

from workers.batch import Pace


def test_a_batch_has_as_many_users_as_take_a_third_of_a_second_but_never_few() -> None:
    pace = Pace()
    assert pace.size(500) == 500
    pace.note(500, 0.5)
    assert pace.size(500) == 300
    pace.note(10, 60.0)  # tells little
    assert pace.size(500) == 300
    pace.note(500, 60.0)
    assert pace.size(500) == 250
    assert math.ceil(1000 / pace.size(500)) <= 5  # statements for 1,000 people, at the worst
    assert pace.size(100) == 100
