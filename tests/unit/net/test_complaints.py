"""At most one line in the log per source and second."""

from __future__ import annotations

import logging

import pytest

from switchroom.net.complaints import Complaints


def test_one_line_per_source_and_second(caplog: pytest.LogCaptureFixture) -> None:
    now = 0.0
    complaints = Complaints(lambda: now, 10)
    with caplog.at_level(logging.WARNING):
        assert complaints.complain("192.0.2.1", "first")
        assert not complaints.complain("192.0.2.1", "second")
        assert complaints.complain("192.0.2.2", "another's first")
        now = 0.99
        assert not complaints.complain("192.0.2.1", "third")
        now = 1.0
        assert complaints.complain("192.0.2.1", "fourth")
    assert [record.getMessage() for record in caplog.records] == [
        "first",
        "another's first",
        "fourth (2 more were not logged)",
    ]


def test_forged_sources_do_not_fill_the_log(caplog: pytest.LogCaptureFixture) -> None:
    now = 0.0
    complaints = Complaints(lambda: now, 10)
    written = sum(complaints.complain(f"192.0.2.{number}", "x") for number in range(200))
    assert written == 10
    now = 1.0
    assert complaints.complain("198.51.100.1", "x")


def test_what_came_from_the_network_stays_on_its_line(caplog: pytest.LogCaptureFixture) -> None:
    Complaints(lambda: 0.0, 10).complain("192.0.2.1", "bad\r\nWARNING forged\x1b[31m\u202e")
    assert caplog.records[0].getMessage() == r"bad\r\nWARNING forged\x1b[31m\u202e"
