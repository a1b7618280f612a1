"""The licence calls: accepted, answered, without effect."""

from __future__ import annotations

import logging

from dflow.hoops.licence import get_license_info, set_license, use_test_license


def test_any_key_is_accepted_and_logged_unless_silent(caplog):
    caplog.set_level(logging.INFO, logger="dflow.hoops.licence")
    assert set_license() is True
    assert set_license("key", validate=True, silent=True) is True
    assert use_test_license() is True
    assert [record.getMessage() for record in caplog.records] == [get_license_info()["message"]]


def test_the_information_names_no_key_and_no_end():
    info = get_license_info()
    assert (info["valid"], info["required"], info["license"], info["expires"]) == (True, False, "Apache-2.0", None)
