"""HOOPS AI's licence calls, so that its scripts run unchanged. dflow is free software: no licence is needed."""

from __future__ import annotations

import logging

_LOGGER = logging.getLogger(__name__)
_MESSAGE = "dflow needs no licence: it is free software (Apache-2.0) on a free CAD kernel."


def set_license(key: str | None = None, validate: bool = True, silent: bool = False) -> bool:
    """Accept any key, None included, and do nothing with it.

    Parameters
    ----------
    key : any text, or None
    validate : no effect
    silent : no effect

    Returns
    -------
    True, the answer of a licence that is valid.
    """
    del key, validate
    if not silent:
        _LOGGER.info(_MESSAGE)
    return True


def get_license_info() -> dict[str, object]:
    """What a script may ask about its licence: valid, for ever, for everything."""
    return {"valid": True, "required": False, "license": "Apache-2.0", "expires": None, "message": _MESSAGE}


def use_test_license() -> bool:
    """The same as `set_license()`."""
    return set_license(silent=True)
