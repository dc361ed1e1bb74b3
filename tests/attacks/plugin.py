"""A pytest plugin that writes what each test came to into the file that `ATTACK_REPORT` names, for `attacks/table.py`."""

from __future__ import annotations

import json
import os

import pytest


class Recorder:
    """Collects the outcome of every test."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.tests: list[dict] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep a test that was called, and one that failed before."""
        if report.when == "call" or report.failed:
            failure = "" if report.passed or report.skipped else str(report.longrepr)[-2000:]
            properties = dict(report.user_properties)
            self.tests.append({"name": report.nodeid, "failure": failure, "outcomes": properties.get("outcomes")})

    def pytest_sessionfinish(self) -> None:
        """Write the file."""
        with open(self.path, "w", encoding="utf-8") as file:
            json.dump(self.tests, file)


def pytest_configure(config: pytest.Config) -> None:
    """Start to record."""
    if path := os.environ.get("ATTACK_REPORT"):
        config.pluginmanager.register(Recorder(path))
