"""Settings for all tests."""

from __future__ import annotations

from hypothesis import settings

# A loaded machine is slow, not wrong.
settings.register_profile("switchroom", deadline=None)
settings.load_profile("switchroom")
