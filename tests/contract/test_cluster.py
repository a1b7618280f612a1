"""Flows on worker processes: keys, clients, faults, closures, counts, previews. One cluster for the module."""

from __future__ import annotations

import json
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from distributed import Client, LocalCluster, SchedulerPlugin

import dflow
from dflow.cadencoder import BrepEncoder
from dflow.flowmanager import flowtask
from dflow.storage import OptStorage
from tests.contract.running import Run


@dataclass
class Part:
    """What a task hands on: an object of the user's own class."""

    path: str
    pid: int


class Keys(SchedulerPlugin):
    """All keys that the scheduler sees."""

    def __init__(self):
        self.keys = set()

    def transition(self, key, *_, **__):
        self.keys.add(str(key))


@pytest.fixture(scope="module")
def cluster():
    with LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address="127.0.0.1:0") as cluster:
        yield cluster


ODD = ["it's.step", 'quo"te.step', "new\nline.step", "ünï 部品.step", "x" * 195 + ".step", "[a]*?{0} $HOME.step"]


def tasks_with(limit):
    """Tasks that close over a value."""

    @flowtask.extract(name="gather", inputs=["sources"], outputs=["files"])
    def gather(sources):
        return sorted(str(path) for source in sources for path in Path(source).rglob("*.step"))

    @flowtask.transform(name="encode", inputs=["cad_dataset"], outputs=["encoded"])
    def encode(cad_file, cad_loader, storage):
        stem = Path(cad_file).stem
        if stem == "skipped":
            return None
        if stem == "crash":
            os.kill(os.getpid(), signal.SIGSEGV)
        if stem == "leaves":
            os._exit(7)
        if stem == "raises":
            raise ZeroDivisionError("my own words")
        if stem == "slow":
            time.sleep(600)
        model = cad_loader.create_from_file(cad_file)
        BrepEncoder(model.get_brep(), storage).push_face_attributes()
        if stem == "counted":
            storage.save_metadata("face_count", 1000)
        storage.save_metadata("limit", limit)
        return Part(storage.get_file_path(""), os.getpid())

    @flowtask.transform(name="extend", inputs=["part", "storage"], outputs=["extended"])
    def extend(part, storage):
        assert isinstance(part, Part)
        storage.save_data("extra/n", np.arange(len(storage.load_data("faces/face_areas"))))
        return part

    @flowtask.custom(name="gate", inputs=["extended"], outputs=["pids"], parallel_execution=False)
    def gate(parts):
        return {"pids": [os.getpid(), *sorted({part.pid for part in parts})]}

    return [gather, encode, extend, gate]


@pytest.fixture(scope="module")
def sources(tmp_path_factory, generated_parts):
    folder = tmp_path_factory.mktemp("in")
    parts = sorted(generated_parts.rglob("*.step"))
    for number, name in enumerate([*ODD, "counted.step", "skipped.step", "crash.step", "leaves.step", "raises.step"]):
        (folder / name).write_bytes(parts[number % len(parts)].read_bytes())
    (folder / "slow.step").write_bytes(parts[0].read_bytes())
    folder.chmod(0o555)
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory, cluster, sources):
    plugin = Keys()
    cluster.scheduler.add_plugin(plugin)
    before = {path.name: path.read_bytes() for path in sources.iterdir()}
    with Client(cluster) as client:
        flow = dflow.create_flow(
            "parts & $x^{ 部品$", tasks_with(3), tmp_path_factory.mktemp("out"), timeout_seconds=8, max_retries=0
        )
        run = Run(*flow.process(inputs={"sources": str(sources)}, progress=False))
        run.client_works = client.status == "running" and client.submit(sum, [1, 2]).result() == 3
        run.drawing = flow.visualize().svg
    run.keys = plugin.keys
    assert before == {path.name: path.read_bytes() for path in sources.iterdir()}
    return run


def test_a_fault_costs_its_own_file_and_is_told_with_its_kind(run):
    counts = run.output.counts
    assert (counts.submitted, counts.succeeded, counts.skipped, counts.failed) == (12, 7, 1, 4)
    entries = {os.path.basename(e["file"]): e for e in json.loads((run.root / "error_summary.json").read_text())}
    assert {name: entry["kind"] for name, entry in entries.items()} == {
        "crash.step": "crash",
        "leaves.step": "crash",
        "raises.step": "exception",
        "slow.step": "timeout",
    }
    assert "SIGSEGV" in entries["crash.step"]["message"]
    assert "my own words" in entries["raises.step"]["traceback"]
    assert entries["slow.step"]["seconds"] >= 8
    assert run.summary["file_count"] == 7


def test_nodes_are_named_after_their_tasks_so_that_the_dashboard_groups_them(run):
    assert {"gather-000000", "encode-000000", "extend-000000"} <= run.keys
    assert any(key.startswith("merge-faces-0000") for key in run.keys)


def test_the_callers_client_is_used_and_left_open(run):
    assert run.client_works
    pids = run.output.task_instances[3].results[0]["pids"]
    assert pids[0] == os.getpid()
    assert os.getpid() not in pids[1:]


def test_models_are_counted_and_the_users_count_wins(run):
    file = run.group("file")
    assert {"face_count", "edge_count", "body_count"} <= set(file)
    info = run.info()
    counted = info[[name.endswith("counted.step") for name in info.index]]
    assert counted["face_count"].tolist() == [1000]
    rows = file["row_count_faces"].values
    assert np.sum(file["face_count"].values == rows) == 6
    assert (file["body_count"].values == 1).all()
    assert (file["limit"].values == 3).all()


def test_every_sample_is_whole_and_has_a_picture(run):
    stores = sorted((run.root / "encoded").iterdir())
    assert [path.suffix for path in stores] == [".data"] * 7
    for path in stores:
        assert set(OptStorage(str(path.with_suffix(""))).get_keys()) >= {"extra", "faces"}
        picture = run.root / "stream_cache" / f"{path.stem}.png"
        assert picture.read_bytes().startswith(b"\x89PNG")
    assert not [path for path in run.root.rglob("*") if path.name.startswith(".tmp") or path.name == "work"]


def test_the_log_has_one_line_a_file_whatever_it_is_called(run):
    lines = (run.root / "flow_log.log").read_text().splitlines()
    for name in [*ODD, "crash.step", "skipped.step"]:
        shown = name.replace("\n", " | ")
        assert sum(" encode " in line and shown in line for line in lines) == 1, name


def test_the_graph_is_drawn_without_dot(run):
    assert run.drawing.startswith(("<svg", "<?xml"))
    assert "encode" in run.drawing
    assert "$x^{ 部品$" in run.drawing
