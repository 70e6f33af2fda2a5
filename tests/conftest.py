"""What holds for every test."""

from __future__ import annotations

from hypothesis import settings

# No test may depend on how fast the machine is at the moment.
settings.register_profile("mmbot", deadline=None)
settings.load_profile("mmbot")
