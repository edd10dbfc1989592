"""Ask PyPI for known vulnerabilities of everything that is installed.

`python -m tools.audit` ends with 0 if there are none, 1 if there are some, and 3 if a package could
not be checked: pip-audit itself, cut off from its source, finds nothing and calls it a success.
"""

import json
import subprocess
import sys
import tempfile
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

NONE, SOME, UNKNOWN = 0, 1, 3


def installed() -> list[str]:
    """Every package in this environment, as PyPI knows it: `torch==2.13.0`, not `2.13.0+cpu`."""
    found = {d.name.lower(): d.version.partition("+")[0] for d in distributions()}
    return [f"{name}=={version}" for name, version in sorted(found.items())]


def asked(packages: list[str]) -> dict[str, Any] | None:
    """What pip-audit reports of these packages; None if it ends without a report."""
    with tempfile.TemporaryDirectory() as folder:
        listed = Path(folder) / "requirements.txt"
        listed.write_text("\n".join(packages))
        command = [sys.executable, "-m", "pip_audit", "--requirement", str(listed)]
        command += ["--disable-pip", "--no-deps", "--format", "json", "--progress-spinner", "off"]
        finished = subprocess.run(command, capture_output=True, text=True)
    try:
        return json.loads(finished.stdout)
    except ValueError:
        print(finished.stderr, file=sys.stderr)
        return None


def verdict(report: dict[str, Any] | None, count: int) -> tuple[int, list[str]]:
    """How the command ends, and what it says.

    >>> verdict(None, 2)
    (3, ['PyPI could not be asked about any of 2 packages.'])
    >>> verdict({"dependencies": [{"name": "six", "version": "1.17.0", "vulns": []}]}, 1)
    (0, ['1 packages, no known vulnerabilities.'])
    """
    packages = report["dependencies"] if report else []
    known = [p for p in packages if "skip_reason" not in p]
    lines = [
        f"{p['name']} {p['version']}: {v['id']}, fixed in {', '.join(v['fix_versions']) or 'none'}"
        for p in known
        for v in p["vulns"]
    ]
    if not known:
        return UNKNOWN, [f"PyPI could not be asked about any of {count} packages."]
    if lines:
        return SOME, lines
    if len(known) < count:
        names = {p["name"] for p in packages} - {p["name"] for p in known}
        return UNKNOWN, [f"Not checked, PyPI does not know them: {', '.join(sorted(names))}."]
    return NONE, [f"{count} packages, no known vulnerabilities."]


def main() -> None:
    """Print what is known and end accordingly."""
    packages = installed()
    code, lines = verdict(asked(packages), len(packages))
    print(*lines, sep="\n")
    sys.exit(code)


if __name__ == "__main__":
    main()
