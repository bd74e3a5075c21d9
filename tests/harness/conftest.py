"""No test of the harness leaves a folder locked for the next one."""

import pytest

from experiments._harness import lock


@pytest.fixture(autouse=True)
def released():
    yield
    lock.release()
