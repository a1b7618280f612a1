"""HOOPS AI's licence calls, so that its scripts run unchanged. dflow is free software and needs no licence."""

from __future__ import annotations

from dflow.plaintext import get_logger

_LOGGER = get_logger(__name__)
_MESSAGE = "dflow needs no licence: it is free software (Apache-2.0) on a free CAD kernel."


def set_license(key: str | None = None, validate: bool = True, silent: bool = False) -> bool:
    """Accept any key, also None, and do nothing with it.

    Parameters
    ----------
    key : any text, or None
    validate : no effect
    silent : log no message

    Returns
    -------
    True, as for a valid licence.
    """
    del key, validate
    if not silent:
        _LOGGER.info(_MESSAGE)
    return True


def get_license_info() -> dict[str, object]:
    """Return the state of a licence that is valid and never expires."""
    return {"valid": True, "required": False, "license": "Apache-2.0", "expires": None, "message": _MESSAGE}


def use_test_license() -> bool:
    """Do the same as `set_license()`, without a message."""
    return set_license(silent=True)
