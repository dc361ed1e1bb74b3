"""A prompt is given up for its own failures, never for an endpoint that is down for a while."""

import pytest

from comvint_hf.errors import EndpointError, ReplyError
from comvint_hf.generation.client import retry
from comvint_hf.generation.client.errors import Trouble
from comvint_hf.generation.client.retry import TRIES, Health, Persistence


@pytest.fixture
def clock(monkeypatch):
    """Time that passes only where a test says so."""
    now = [1000.0]
    monkeypatch.setattr(retry.time, "monotonic", lambda: now[0])
    return now


def fail(health, clock, trouble, *, times, others_succeed=False, troubled=1):
    """Let one prompt fail, a second apart; others may succeed between its failures, or be in trouble too."""
    with Persistence(health) as one:
        health.troubled += troubled - 1
        for _ in range(times):
            one.wait_after(trouble)
            clock[0] += 1
            if others_succeed:
                health.good()
            clock[0] += 1


def test_a_prompt_that_fails_while_others_succeed_is_given_up(clock) -> None:
    health = Health("url", last_good=clock[0])
    with pytest.raises(ReplyError, match=f"failed {TRIES} times"):
        fail(health, clock, Trouble("status 500"), times=TRIES, others_succeed=True, troubled=5)


@pytest.mark.parametrize("trouble", [Trouble("status 502"), Trouble("no connection", unreached=True)])
def test_what_was_in_flight_when_an_endpoint_went_down_is_not_given_up(clock, trouble) -> None:
    health = Health("url")
    with Persistence(health) as one:
        clock[0] += 1
        health.good()
        health.troubled += 1
        for _ in range(10 * TRIES):
            one.wait_after(trouble)
            clock[0] += 1


def test_the_only_prompt_is_to_blame_for_what_the_endpoint_says_and_not_for_its_absence(clock) -> None:
    health = Health("url", last_good=clock[0])
    with pytest.raises(ReplyError, match=f"failed {TRIES} times"):
        fail(health, clock, Trouble("status 500"), times=TRIES)
    fail(Health("url", last_good=clock[0]), clock, Trouble("no connection", unreached=True), times=10 * TRIES)


def test_an_endpoint_that_stays_away_ends_the_run(clock) -> None:
    health = Health("url", last_good=clock[0], patience=60)
    with pytest.raises(EndpointError, match=r"no good answer for \d+ s"):
        fail(health, clock, Trouble("no connection", unreached=True), times=40)
