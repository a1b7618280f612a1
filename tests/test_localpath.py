"""Whatever writes refuses an address where a path is expected, and makes nothing."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

import dflow
from dflow.cadaccess.tessellation.mesh import Mesh
from dflow.cadaccess.writing import write_obj, write_stl
from dflow.dataset.explorer import DatasetExplorer
from dflow.dataset.export.export import export_dataset
from dflow.dataset.format.location import locate
from dflow.dataset.loader import DatasetLoader
from dflow.dataset.validate import validate_dataset
from dflow.demo.parts import write_parts
from dflow.errors import OutputFolderError
from dflow.flowmanager.gathering import gather_cad_files
from dflow.flowmanager.plan.items import flow_items
from dflow.flowmanager.reports.drawing import FlowDrawing
from dflow.hoops.files import LocalStorageProvider
from dflow.hoops.merger import DatasetInfo, DatasetMerger, find_data_files
from dflow.insights.cad_viewer import CADViewer
from dflow.insights.grid import save_figure
from dflow.localpath import is_address, local_path
from dflow.schema import SchemaBuilder
from dflow.storage import JsonStorageHandler, OptStorage
from tests.cli.programs import invoke
from tests.dataset.synthetic import random_parts
from tests.dataset.synthetic import write_parts as write_dataset
from tests.flowmanager.flowparts import encode, gather, write_sources

ADDRESSES = [
    "s3://bucket/out",
    "gs://bucket",
    "abfss://container@account.dfs.core.windows.net/x",
    "hdfs:///out",
    "https://host/out",
    "file:///tmp/out",
    "FILE:/tmp/out",
    "nas01:/export/out",
    "me@host:/home/me/out",
    PurePosixPath("s3://bucket/out"),
    Path("file:///tmp/out"),
]
PATHS = [
    "/tmp/out",
    "out",
    "/s3:/out",
    "a b/c:d",
    "C:/out",
    "C:\\out",
    "c:out",
    "a~/out",
    "..",
    "10:30/out",
    "",
    "s3:",
    "x:y",
]


@pytest.mark.parametrize("address", ADDRESSES)
def test_addresses_are_refused_with_what_to_do(address: Any) -> None:
    with pytest.raises(OutputFolderError, match=r"give the path"):
        local_path(address)


@pytest.mark.parametrize("path", PATHS)
def test_paths_are_left_as_they_are(path: str) -> None:
    assert local_path(path) == path
    assert local_path(Path(path)) == str(Path(path))


def test_file_url_is_answered_with_its_path() -> None:
    with pytest.raises(OutputFolderError, match=r"give the path itself: '/data/my parts/out'"):
        local_path("file:///data/my%20parts/out")


def test_the_home_folder_is_meant_by_a_tilde(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever takes a path: written below the home folder, and read from there; nothing is made in a folder ``~``."""
    home, here = tmp_path / "home", tmp_path / "here"
    home.mkdir()
    here.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(here)
    (part,) = write_parts("~/parts", n_parts=1)
    assert part.is_relative_to(home)
    model = dflow.cadaccess.CadLoader().create_from_file(f"~/{part.relative_to(home)}")
    for name, export in (("a.step", model.export_step), ("a.stl", model.export_stl), ("a.obj", model.export_obj)):
        export(f"~/{name}")
    assert list(gather_cad_files(["~/a.step"])) == [str(home / "a.step")]
    SchemaBuilder(domain="d", version="1").save_to_file("~/schema.json")
    assert SchemaBuilder.load_from_file("~/schema.json").domain == "d"
    with OptStorage("~/store.data") as storage:
        storage.save_data("faces/a", [1.0])
    JsonStorageHandler("~/json").save_data("a", 1)
    flow_file = dataset(home)
    data = flow_file.with_suffix(".dataset")
    for target in (flow_file, data):
        assert len(DatasetLoader(f"~/{target.relative_to(home)}")) == 5
        assert DatasetExplorer(f"~/{target.relative_to(home)}").get_file_list() is not None
    loader = DatasetLoader(f"~/{data.relative_to(home)}", f"~/{data.relative_to(home).with_suffix('.infoset')}")
    loader.split(train=0.4, validation=0.3, test=0.3)
    loader.save_split("~/a.split")
    assert DatasetLoader(data).load_split("~/a.split") == (2, 2, 1)
    export_dataset(locate(data), "~/out", "npz")
    assert validate_dataset(f"~/{data.relative_to(home)}") == validate_dataset(data)
    assert LocalStorageProvider("~/parts").directory_path == str(home / "parts")
    assert find_data_files("~/store.data") == [home / "store.data"]
    done = invoke("export", f"~/{flow_file.relative_to(home)}", "--to", "npz", "--out", "~/again")
    assert done.exit_code == 0, done.output
    sources = write_sources(home / "sources", {"a": "1 2"})
    made = dflow.create_flow("numbers", [gather, encode], "~/flows", debug=True, export_visualization=False)
    _, summary, _ = made.process({"sources": [f"~/{sources.relative_to(home)}"]}, progress=False)
    assert (summary["samples"], summary["failed"]) == (1, 0)
    found, _ = flow_items(["~/parts/a.step", "plain ~/text"], str(home / "flows"), "encode")
    assert [item.value for item in found] == [str(home / "parts/a.step"), "plain ~/text"]
    assert {"a.step", "a.stl", "a.obj", "schema.json", "store.data", "json", "a.split", "out", "again", "flows"} <= {
        path.name for path in home.iterdir()
    }
    assert os.listdir(here) == []


def dataset(folder: Path) -> Path:
    return write_dataset(random_parts(5, seed=1), folder).flow_file


def flow(folder: Path) -> dflow.Flow:
    return dflow.create_flow("numbers", [gather, encode], folder / "out", debug=True, export_visualization=False)


def mesh() -> Any:
    return Mesh.__new__(Mesh)


def finished(folder: Path) -> Any:
    sources = write_sources(folder / "sources", {"a": "1 2"})
    return flow(folder).process({"sources": [str(sources)]}, progress=False)[0]


WRITERS: dict[str, Callable[[Any, Path], Any]] = {
    "create_flow": lambda url, _: dflow.create_flow("numbers", [gather, encode], url),
    "visualize": lambda url, folder: flow(folder).visualize(url),
    "drawing": lambda url, _: FlowDrawing.save(FlowDrawing.__new__(FlowDrawing), url),
    "flow summary": lambda url, folder: finished(folder).generate_flow_summary(url),
    "export": lambda url, folder: export_dataset(locate(dataset(folder)), url, "npz"),
    "export hdf5": lambda url, folder: export_dataset(locate(dataset(folder)), url, "hdf5"),
    "split": lambda url, folder: DatasetLoader(dataset(folder).with_suffix(".dataset")).save_split(url),
    "merger": lambda url, _: DatasetMerger([], url),
    "info": lambda url, folder: DatasetInfo([], url, folder / "a.attribset"),
    "attributes": lambda url, folder: DatasetInfo([], folder / "a.infoset", url),
    "store": lambda url, _: OptStorage(url),
    "json store": lambda url, _: JsonStorageHandler(url),
    "schema": lambda url, _: SchemaBuilder(domain="d", version="1").save_to_file(url),
    "figure": lambda url, _: save_figure(None, url),  # type: ignore[arg-type]
    "page": lambda url, _: CADViewer().save_html(url),
    "parts": lambda url, _: write_parts(url, n_parts=1),
    "obj": lambda url, _: write_obj(mesh(), url),
    "demo": lambda url, _: __import__("dflow.demo.flow", fromlist=["run_demo"]).run_demo(url, n_parts=6),
}


@pytest.mark.parametrize(
    "url", ["s3://bucket/out.html", Path("gs://bucket/out.html"), "file:///tmp/dflow-none/out.html"]
)
@pytest.mark.parametrize("writer", sorted(WRITERS))
def test_every_writer_refuses_an_address(
    writer: str, url: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    with pytest.raises(OutputFolderError, match=r"give the path"):
        WRITERS[writer](url, tmp_path)
    assert os.listdir() == []


def test_stl_and_step_refuse_an_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (part,) = write_parts(tmp_path / "parts", n_parts=1)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    model = dflow.cadaccess.CadLoader().create_from_file(part)
    for export in (model.export_step, model.export_stl, model.export_obj):
        with pytest.raises(OutputFolderError):
            export("s3://bucket/part")
    with pytest.raises(OutputFolderError):
        write_stl(model.get_mesh(), "s3://bucket/part")
    assert os.listdir() == []


COMMANDS = {
    "run": lambda folder: ["run", f"{folder}/pipe.py:encode", "--sources", str(folder)],
    "retry": lambda folder: ["retry", f"{folder}/pipe.py:encode"],
    "export": lambda folder: ["export", str(dataset(folder)), "--to", "npz"],
    "demo": lambda folder: ["demo", "--parts", "6"],
    "doctor": lambda folder: ["doctor", "--no-kernel"],
}
PIPELINE = """
from dflow.flowmanager import flowtask

@flowtask.transform(name="encode", inputs=["sources", "storage"], outputs=["x"])
def encode(sources, storage):
    return None

tasks = [encode]
"""


@pytest.mark.parametrize("url", ["s3://bucket/out", "file:///tmp/dflow-none/out"])
@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_every_command_refuses_an_address(
    command: str, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pipe.py").write_text(PIPELINE, encoding="utf-8")
    (tmp_path / "here").mkdir()
    arguments = [*COMMANDS[command](tmp_path), "--out", url]
    monkeypatch.chdir(tmp_path / "here")
    done = invoke(*arguments)
    assert done.exit_code not in (0, 3), done.output
    assert "give the path" in done.output
    assert "Traceback" not in done.output
    assert os.listdir() == []


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("s3://bucket/a", True),
        (Path("https://host/a"), True),
        ("file:///data/a", True),
        ("user@host:/data", True),
        ("C:/data", False),
        ("/data/s3://a", False),
        ("a:b", False),
        ("", False),
        (None, False),
        (5, False),
    ],
)
def test_addresses_are_told_from_paths(path: Any, expected: bool) -> None:
    assert is_address(path) is expected
