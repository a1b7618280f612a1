"""Node keys: grouped by task, and unique among the flows on a scheduler."""

from __future__ import annotations

import pytest
from dask.delayed import delayed
from dask.utils import key_split

from dflow.flowmanager.cluster.nodekeys import NodeNames, is_node_of, node_key, renamed


def test_equal_names_of_two_live_flows_do_not_mix(shared_client):
    first = NodeNames(shared_client, ["twice"])
    second = NodeNames(shared_client, ["twice", "once"])
    assert first.suffix("twice") == second.suffix("once") == ""
    suffix = second.suffix("twice")
    assert suffix
    assert key_split(node_key("encode", 12)) == key_split(node_key("encode", 12, suffix)) == "encode"
    first.release()
    second.release()
    again = NodeNames(shared_client, ["twice"])
    assert again.suffix("twice") == ""
    again.release()


def test_a_name_whose_nodes_are_still_there_gets_a_suffix(shared_client):
    future = shared_client.submit(int, 1, key="still-000001")
    assert future.result(30) == 1
    names = NodeNames(shared_client, ["still"])
    assert names.suffix("still")
    names.release()
    del future


def test_a_renamed_node_computes_the_same():
    node = delayed(int, pure=False)(5, dask_key_name="merge-faces-000003")
    other = renamed(node, "abcd")
    assert other.key == "merge-faces-abcd-000003"
    assert other.compute(scheduler="synchronous") == 5
    assert renamed(node, "") is node


@pytest.mark.parametrize("task", ["encode", "en code", "en-code", "en/code", "\u00fcber"])
def test_the_dashboard_groups_nodes_by_task(task):
    keys = {node_key(task, number, suffix) for number in (0, 12) for suffix in ("", "0123456789abcdef")}
    assert len(keys) == 4
    (group,) = {key_split(key) for key in keys}
    assert group == "".join(c if c.isalnum() else "_" for c in task)


def test_keys_sort_like_their_numbers():
    keys = [node_key("encode", number) for number in (0, 2, 10, 999_999)]
    assert keys == sorted(keys)


@pytest.mark.parametrize(
    ("key", "is_node"),
    [
        ("encode-000001", True),
        ("en_code-000001", True),
        ("encoder-000001", False),
        ("other-000001", False),
        ("encode", False),
    ],
)
def test_nodes_belong_to_their_task_only(key, is_node):
    assert is_node_of(key, ["encode", "en code"]) is is_node
