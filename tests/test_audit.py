"""What `make audit` makes of pip-audit's report: silence is not taken for safety."""

import re

import pytest

from tools.audit import NONE, SOME, UNKNOWN, installed, verdict

SAFE = {"name": "six", "version": "1.17.0", "vulns": []}
WEAK = {
    "name": "pillow",
    "version": "9.0.0",
    "vulns": [{"id": "PYSEC-2022-168", "fix_versions": ["9.0.1"]}, {"id": "X", "fix_versions": []}],
}
SKIPPED = {"name": "torch", "skip_reason": "Dependency not found on PyPI"}


@pytest.mark.parametrize(
    ("dependencies", "code", "said"),
    [
        ([SAFE], NONE, "1 packages, no known vulnerabilities."),
        ([SAFE, WEAK], SOME, "pillow 9.0.0: PYSEC-2022-168, fixed in 9.0.1"),
        ([SKIPPED, WEAK], SOME, "pillow 9.0.0: PYSEC-2022-168, fixed in 9.0.1"),
        ([SKIPPED, SAFE], UNKNOWN, "Not checked, PyPI does not know them: torch."),
        ([SKIPPED], UNKNOWN, "PyPI could not be asked about any of 1 packages."),
        ([], UNKNOWN, "PyPI could not be asked about any of 0 packages."),
    ],
)
def test_how_it_ends(dependencies, code, said):
    ended, lines = verdict({"dependencies": dependencies}, len(dependencies))
    assert (ended, lines[0]) == (code, said)
    assert len(lines) == (2 if WEAK in dependencies else 1)


def test_without_a_report_nothing_is_known():
    assert verdict(None, 7)[0] == UNKNOWN


def test_everything_that_is_installed_is_asked_for():
    packages = installed()
    assert {"streamlit", "torch", "plotly", "pillow", "numpy", "pytest"} <= {
        package.partition("==")[0] for package in packages
    }
    assert all(re.fullmatch(r"[a-z0-9._-]+==[0-9][0-9a-z.!]*", package) for package in packages)
