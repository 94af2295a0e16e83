"""Settings of all tests: none depends on how fast the machine is, nothing outlives their run."""

from hypothesis import settings

from tests.support import reaper

settings.register_profile("plutino", deadline=None)
settings.load_profile("plutino")


def pytest_configure() -> None:
    """Before any test has started anything."""
    reaper.start()
