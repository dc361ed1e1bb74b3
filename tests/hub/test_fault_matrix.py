"""Every endpoint of a push with every fault: no row lost or doubled, one sentence, and the next push succeeds."""

from __future__ import annotations

from dataclasses import asdict

import pytest
from hub.fault_matrix import ENDPOINTS, FAULTS, QUICK, attack


@pytest.fixture
def versions(toy_dataset):
    return toy_dataset(scenes=4), toy_dataset(scenes=6)


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_a_lasting_fault_leaves_a_whole_version_and_one_sentence(endpoint, hub, client, versions) -> None:
    outcomes = [attack(hub, client, versions, endpoint, fault) for fault in QUICK]
    assert [outcome for outcome in outcomes if not outcome.is_clean] == []


@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("passing", [False, True], ids=["lasting", "passing"])
@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_every_fault_leaves_a_whole_version_and_one_sentence(endpoint, passing, hub, client, versions, record_property) -> None:
    outcomes = [attack(hub, client, versions, endpoint, fault, passing=passing) for fault in FAULTS]
    record_property("outcomes", [asdict(outcome) for outcome in outcomes])  # for the table of `make attack`
    assert [outcome for outcome in outcomes if not outcome.is_clean] == []
