"""Judgements on made-up facts."""

from __future__ import annotations

import pickle
from dataclasses import replace

import pytest

from dflow.flowmanager.cluster import findings
from dflow.flowmanager.cluster.findings import Finding
from dflow.flowmanager.cluster.hostfacts import HostFacts, KernelFacts, Question

VERSIONS = {"python": "3.11.2", "dflow-cad": "0.1.0", "cadquery-ocp": "8.0.1", "zarr": "3.1.3"}
CLIENT = HostFacts("desk", versions=VERSIONS)
NODE = HostFacts("node7", "tcp://10.0.0.7:1", versions=VERSIONS)


def test_facts_and_findings_pickle():
    for value in (NODE, KernelFacts("node7", "no"), Question((("/a", "file"),), "/out", "t"), Finding("ok", "a", "b")):
        assert pickle.loads(pickle.dumps(value)) == value


@pytest.mark.parametrize(
    ("package", "theirs", "level"),
    [
        ("python", "3.12.2", "problem"),
        ("dflow-cad", "0.2.0", "problem"),
        ("cadquery-ocp", "absent", "problem"),
        ("zarr", "3.2.0", "warning"),
        ("zarr", "absent", "problem"),
    ],
)
def test_a_difference_of_versions_names_both(package, theirs, level):
    other = replace(NODE, versions={**VERSIONS, package: theirs})
    (finding,) = findings.judge_versions(CLIENT, [other, NODE])
    assert (finding.level, finding.host) == (level, "node7")
    assert theirs in finding.message
    assert VERSIONS[package] in finding.message


def test_a_patch_release_of_python_is_no_difference():
    assert not list(findings.judge_versions(CLIENT, [replace(NODE, versions={**VERSIONS, "python": "3.11.9"})]))


def test_a_host_that_hangs_is_one_problem_and_nothing_else():
    hung = HostFacts("node7", hung=True)
    (finding,) = [
        *findings.judge_files([hung]),
        *findings.judge_answers(Question((), "/out", "token"), [hung], ()),
        *findings.judge_versions(CLIENT, [hung]),
        *findings.judge_resources(hung),
    ]
    assert "does not answer" in finding.message


def test_low_disks_and_descriptors_are_warnings():
    poor = replace(NODE, temporary_folder="/scratch", temporary_free_bytes=5, folder="/out", folder_free_bytes=7)
    found = list(findings.judge_resources(replace(poor, open_files=256)))
    assert [(f.level, f.path) for f in found] == [("warning", "/scratch"), ("warning", "/out"), ("warning", "")]
    assert "ulimit -n 1024" in found[2].advice
    rich = replace(NODE, open_files=2000)
    assert list(findings.judge_resources(rich)) == []
    assert "5000" in next(findings.judge_resources(rich, n_workers=500)).message


def test_workers_without_room_are_warned_of_by_host():
    gib = 1024**3
    members = [replace(NODE, address=f"w{i}", memory_bytes=8 * gib) for i in range(3)]
    assert list(findings.judge_memory({f"w{i}": 2 * gib for i in range(3)}, members)) == []
    (over,) = findings.judge_memory({f"w{i}": 4 * gib for i in range(3)}, members)
    assert "12.0 GiB together, it has 8.0 GiB" in over.message
    (small,) = findings.judge_memory({"w0": gib // 2, "w1": 2 * gib, "w2": 2 * gib}, members)
    assert "1 workers have 0.5 GiB" in small.message
    assert list(findings.judge_memory({}, members)) == []  # no limits known


def test_a_worker_that_went_away_is_no_reason_to_stop():
    (gone,) = findings.judge_workers({"tcp://a:1": OSError("connection closed")})
    (bare,) = findings.judge_workers({"tcp://b:1": ModuleNotFoundError("No module named 'dflow'")})
    assert (gone.level, bare.level) == ("warning", "problem")
    assert "No module named 'dflow'" in str(bare)


def test_a_kernel_that_does_not_load_is_a_problem():
    assert [(f.level, f.check) for f in findings.judge_kernels([KernelFacts("a")])] == [("ok", "CAD kernel")]
    (fault,) = findings.judge_kernels([KernelFacts("a", "needs libGL.so.1\n  apt-get install -y libgl1")])
    assert fault.level == "problem"
    assert "apt-get install -y libgl1" in fault.message


def test_findings_show_on_one_harmless_line():
    text = str(Finding("problem", "sources", "is not there", "node7", "/data/\x1b[2Jevil\nname", "mount it"))
    assert text == r"host node7: /data/\x1b[2Jevil\nname is not there (mount it)"


def test_an_answer_that_the_client_does_not_see_is_a_problem():
    question = Question((), "/out", "token")
    members = [replace(NODE, answer="seen"), replace(NODE, host="node8", answer="unseen")]
    (finding,) = findings.judge_answers(question, members, {"seen"})
    assert (finding.host, finding.path) == ("node8", "/out")
    assert "the client does not see the file" in finding.message
    assert list(findings.judge_answers(Question((), "/out"), members, ())) == []  # nothing was asked
