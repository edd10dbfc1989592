"""What the tests of all explainers share.

The shapes in the explainers' signatures are checked in every test: pytest installs jaxtyping's
import hook before anything is imported (`--jaxtyping-packages` in pyproject.toml).
"""

from collections.abc import Iterator

import jaxtyping
import pytest
import torch

DEVICES = ["cpu"]
if torch.cuda.is_available():
    DEVICES.append("cuda")
if torch.backends.mps.is_available():
    DEVICES.append("mps")


@pytest.fixture(scope="session", params=DEVICES)
def device(request: pytest.FixtureRequest) -> torch.device:
    """Each device of this machine in turn."""
    return torch.device(request.param)


@pytest.fixture(scope="session", params=[torch.float32, torch.float64], ids=["float32", "float64"])
def dtype(request: pytest.FixtureRequest, device: torch.device) -> torch.dtype:
    """Each floating dtype of the device in turn."""
    if device.type == "mps" and request.param == torch.float64:
        pytest.skip("MPS has no float64")
    return request.param


@pytest.fixture
def unchecked() -> Iterator[None]:
    """Call explainers as the app does, without the check of shapes."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)
