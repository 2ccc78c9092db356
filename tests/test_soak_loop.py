"""The closed loop of lesson 06, again and again: what depends on luck shows."""

import pytest

from authoring.source import masters
from course.execute import execute

pytestmark = [pytest.mark.engine, pytest.mark.soak]
LOOP = next(master for master in masters() if master.name == "06_closing_the_loop")


@pytest.mark.parametrize("turn", range(1, 11))
def test_the_loop_closes_ten_times_in_a_row(client, turn):
    _, failure = execute(LOOP.notebook())
    assert failure is None
    label = {"label": f"mlops.course={LOOP.name}"}
    assert client.containers.list(all=True, filters=label) == []
    assert client.networks.list(filters=label) == []
