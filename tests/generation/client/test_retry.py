"""A prompt is given up for its own failures, never for an endpoint that is down for a while."""

import pytest

from comvint_hf.endpoint.errors import RetryableError
from comvint_hf.errors import EndpointError, ReplyError
from comvint_hf.generation.client import retry
from comvint_hf.generation.client.retry import MAX_FAILURES, EndpointHealth, RetryState


@pytest.fixture
def clock(monkeypatch):
    """Time that passes only where a test says so."""
    now = [1000.0]
    monkeypatch.setattr(retry.time, "monotonic", lambda: now[0])
    return now


def fail(health, clock, error, *, times, others_succeed=False, failing=1):
    """Let one prompt fail, a second apart; others may succeed between its failures, or be in error too."""
    with RetryState(health) as one:
        health.failing += failing - 1
        for _ in range(times):
            one.next_delay(error)
            clock[0] += 1
            if others_succeed:
                health.record_success()
            clock[0] += 1


def test_a_prompt_that_fails_while_others_succeed_is_given_up(clock) -> None:
    health = EndpointHealth("url", last_success=clock[0])
    with pytest.raises(ReplyError, match=f"failed {MAX_FAILURES} times"):
        fail(health, clock, RetryableError("status 500"), times=MAX_FAILURES, others_succeed=True, failing=5)


@pytest.mark.parametrize("error", [RetryableError("status 502"), RetryableError("no connection", unreached=True)])
def test_what_was_in_flight_when_an_endpoint_went_down_is_not_given_up(clock, error) -> None:
    health = EndpointHealth("url")
    with RetryState(health) as one:
        clock[0] += 1
        health.record_success()
        health.failing += 1
        for _ in range(10 * MAX_FAILURES):
            one.next_delay(error)
            clock[0] += 1


def test_the_only_prompt_is_to_blame_for_what_the_endpoint_says_and_not_for_its_absence(clock) -> None:
    health = EndpointHealth("url", last_success=clock[0])
    with pytest.raises(ReplyError, match=f"failed {MAX_FAILURES} times"):
        fail(health, clock, RetryableError("status 500"), times=MAX_FAILURES)
    fail(
        EndpointHealth("url", last_success=clock[0]),
        clock,
        RetryableError("no connection", unreached=True),
        times=10 * MAX_FAILURES,
    )


def test_an_endpoint_that_stays_away_ends_the_run(clock) -> None:
    health = EndpointHealth("url", last_success=clock[0], patience=60)
    with pytest.raises(EndpointError, match=r"no good answer for \d+ s"):
        fail(health, clock, RetryableError("no connection", unreached=True), times=40)
