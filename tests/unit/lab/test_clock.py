"""The two clocks."""

from __future__ import annotations

from switchroom.lab import EPOCH, Clock


def test_both_clocks_move_together() -> None:
    clock = Clock()
    assert (clock.time(), clock.wall()) == (0.0, EPOCH)
    clock.advance_to(90.0)
    assert (clock.time(), clock.wall()) == (90.0, EPOCH + 90.0)


def test_a_step_moves_the_wall_clock_only() -> None:
    clock = Clock()
    clock.advance_to(10.0)
    clock.step(3600.0)
    assert (clock.time(), clock.wall()) == (10.0, EPOCH + 3610.0)
    clock.step(-7200.0)
    clock.advance_to(20.0)
    assert (clock.time(), clock.wall()) == (20.0, EPOCH - 3580.0)


def test_time_does_not_run_backwards() -> None:
    clock = Clock()
    clock.advance_to(5.0)
    clock.advance_to(4.0)
    assert clock.time() == 5.0


def test_the_epoch_is_the_first_of_january() -> None:
    from datetime import UTC, datetime

    assert datetime.fromtimestamp(EPOCH, UTC).isoformat() == "2026-01-01T00:00:00+00:00"
