"""How long the tests here try: a slice in the gate, or with ``--minutes`` as long as one wants."""

from __future__ import annotations

import random
import time
from typing import Any

import attrs
import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

GATE_SEED = 20261127


@attrs.frozen
class Effort:
    """How much a test tries.

    Attributes:
        minutes: how long; 0: the slice of the gate.
        seed: what the first random choices derive from.

    """

    minutes: float
    seed: int

    def rounds(self, few: int) -> Any:
        """Yield a seed for each round: *few* in the gate, else as many as the minutes allow."""
        end = time.monotonic() + self.minutes * 60
        number = 0
        while number < few or time.monotonic() < end:
            yield self.seed + number
            number += 1
            if self.minutes and time.monotonic() >= end:
                return

    def run(self, machine: Any, examples: int, steps: int = 40) -> None:
        """Run a state machine."""
        phases = (Phase.generate, Phase.shrink) if self.minutes >= 1 else (Phase.generate,)
        options = settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
            phases=phases,
            print_blob=False,
        )
        for number in self.rounds(1):
            print(f"seed {number}")
            run_state_machine_as_test(seed(number)(machine), settings=options)


@pytest.fixture(scope="session", autouse=True)
def _on_one_interpreter(every_server: None) -> None:
    """Skip where fewer servers are wanted: what is tried here does not depend on the interpreter."""


@pytest.fixture
def effort(request: pytest.FixtureRequest) -> Effort:
    """Return how much to try; the seed is printed."""
    minutes = request.config.getoption("minutes")
    chosen = request.config.getoption("proof_seed")
    number = chosen if chosen is not None else GATE_SEED if not minutes else random.randrange(10**9)
    print(f"--proof-seed {number}")
    return Effort(minutes, number)
