"""Import what agents and schedulers are made of, once, in the process that theirs are forked from."""

from harness.lab.settings import configure

configure()

import tests.lab.pocket  # noqa: E402
import tests.lab.writers  # noqa: E402, F401
