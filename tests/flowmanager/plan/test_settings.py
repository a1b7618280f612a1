"""Every bad argument of `create_flow` has its own error, before anything runs."""

from __future__ import annotations

import inspect
import typing

import pytest

import dflow
from dflow.errors import FlowError, OutputFolderError, SettingError, TaskDefinitionError, WiringError
from dflow.flowmanager import flowtask
from dflow.flowmanager.plan.batch import SampleKind, StorageKind
from dflow.flowmanager.plan.settings import checked_limits


@flowtask.transform(inputs=["item"])
def nothing(item):
    return item


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"name": "a/b"}, SettingError, "names its files"),
        ({"name": ""}, SettingError, "is text"),
        ({"name": ".hidden"}, SettingError, "dot in front"),
        ({"tasks": []}, TaskDefinitionError, "is empty"),
        ({"tasks": nothing}, TaskDefinitionError, "list of decorated functions"),
        ({"tasks": [nothing, nothing]}, WiringError, "both named 'nothing'"),
        ({"tasks": [print]}, TaskDefinitionError, "'print' is not a task"),
        ({"flows_outputdir": 3}, OutputFolderError, "is not a path"),
        ({"max_workers": 0}, SettingError, "max_workers=0"),
        ({"max_workers": True}, SettingError, "max_workers"),
        ({"storage_type": "tape"}, SettingError, "storage_type='tape'"),
        ({"sample": "edge"}, SettingError, "sample='edge'"),
        ({"timeout_seconds": 0}, SettingError, "timeout_seconds"),
        ({"memory_limit": "much"}, SettingError, "memory_limit='much'"),
        ({"memory_limit": 0}, SettingError, "more than 0 bytes"),
        ({"max_retries": -1}, SettingError, "max_retries"),
        ({"max_failures": -1}, SettingError, "max_failures"),
    ],
)
def test_bad_arguments(tmp_path, changes, error, message):
    arguments = {"name": "f", "tasks": [nothing], "flows_outputdir": tmp_path, **changes}
    with pytest.raises(error, match=message) as caught:
        dflow.create_flow(**arguments)
    assert isinstance(caught.value, FlowError)
    assert list(tmp_path.iterdir()) == []


def test_positional_order_is_the_pages(tmp_path):
    flow = dflow.create_flow("f", [nothing], tmp_path, 3, True, False, "for labels", False, "json", {"x": 1})
    specifications = flow.specifications
    assert specifications["max_workers"] == 3
    assert specifications["sequential_mode"] is True
    assert specifications["auto_dataset_export"] is False
    assert specifications["ml_task"] == "for labels"
    assert specifications["storage_type"] == "json"


def test_memory_storage_switches_the_export_off_with_a_warning(tmp_path):
    with pytest.warns(UserWarning, match="auto_dataset_export is switched off"):
        flow = dflow.create_flow("f", [nothing], tmp_path, storage_type="memory")
    assert flow.specifications["auto_dataset_export"] is False


def test_limits_come_from_their_own_arguments_or_hoops_ais(tmp_path):
    flow = dflow.create_flow("f", [nothing], tmp_path, parallel_task_kwargs={"time_limit_overall": 30})
    assert flow.settings.limits.timeout_seconds == 30.0
    flow = dflow.create_flow("f", [nothing], tmp_path, timeout_seconds=7, memory_limit="2GB")
    assert (flow.settings.limits.timeout_seconds, flow.settings.limits.memory_bytes) == (7.0, 2 * 10**9)


def test_the_licence_calls_answer():
    assert dflow.set_license("any", validate=False) is True
    assert dflow.set_license(None) is True
    assert dflow.use_test_license() is True
    assert dflow.get_license_info()["required"] is False


@pytest.mark.parametrize(("argument", "kinds"), [("storage_type", StorageKind), ("sample", SampleKind)])
def test_the_signature_names_the_values_that_are_accepted(argument, kinds):
    assert typing.get_type_hints(dflow.create_flow)[argument] == kinds
    assert all(repr(kind) in str(inspect.signature(dflow.create_flow)) for kind in typing.get_args(kinds))


def test_the_time_limit_grows_with_the_file_unless_one_is_given(tmp_path):
    limits = dflow.create_flow("f", [nothing], tmp_path).settings.limits
    assert [limits.seconds_for(n_bytes) for n_bytes in (-1, 0, 1000, 15_000_000)] == [60.0, 60.0, 60.004, 120.0]
    assert limits.seconds_for(300_000_000) == 1260.0
    given = dflow.create_flow("f", [nothing], tmp_path, timeout_seconds=7).settings
    assert given.limits.seconds_for(300_000_000) == 7.0
    assert given.specifications()["timeout_seconds_per_megabyte"] == 0.0


@pytest.mark.parametrize("seconds", [0, -1, "soon", True])
def test_a_wait_for_workers_is_a_positive_number(tmp_path, seconds):
    with pytest.raises(SettingError, match="no_worker_timeout"):
        dflow.create_flow("f", [nothing], tmp_path, no_worker_timeout=seconds)


def test_a_timeout_is_tried_again_only_where_a_number_of_tries_was_given():
    limits = checked_limits(None, None, None, None)
    assert (limits.max_retries, limits.retry_timeouts, limits.asked_retries) == (1, False, None)
    asked = checked_limits(5.0, None, 1, None)
    assert (asked.max_retries, asked.retry_timeouts, asked.asked_retries) == (1, True, 1)
