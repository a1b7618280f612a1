"""Everything on the Flow quick reference page works when `hoops_ai` is replaced by `dflow`."""

from __future__ import annotations

import ast
import hashlib
import inspect
import json
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.quickreference import page

REPOSITORY = Path(__file__).resolve().parents[2]


def test_copy_equals_the_page_without_white_space() -> None:
    copy = page.without_white_space(page.PAGE.read_text(encoding="utf-8"))
    assert hashlib.sha256(copy.encode()).hexdigest() == page.SHA256_WITHOUT_WHITE_SPACE
    if page.ORIGINAL.is_file():
        assert copy == page.without_white_space(page.ORIGINAL.read_text(encoding="utf-8"))


def run_as_notebook(code: str, folder: Path) -> str:
    """Run code as a notebook would: fed to the interpreter, the folder importable, nothing guarded by __main__."""
    (folder / "cells.py").write_text(code, encoding="utf-8")
    done = subprocess.run(
        [
            sys.executable,
            "-W",
            "error::DeprecationWarning:dflow",
            "-c",
            "exec(open('cells.py', encoding='utf-8').read())",
        ],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-6000:]
    return done.stdout


@pytest.fixture(scope="module")
def cad_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Real parts in category folders where they are at hand, generated ones otherwise."""
    kicad = REPOSITORY.parent / "shared" / "data" / "kicad"
    folder = tmp_path_factory.mktemp("cad")
    if kicad.is_dir():
        for category in sorted(p for p in kicad.iterdir() if p.is_dir())[:7]:
            target = folder / category.name
            target.mkdir()
            for source in sorted(category.glob("*.step"), key=lambda p: p.stat().st_size)[:4]:
                (target / source.name).write_bytes(source.read_bytes())
    else:
        from dflow.demo.parts import write_parts

        write_parts(folder, n_parts=24)
    return folder


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, cad_folder: Path) -> tuple[Path, str, int]:
    folder = tmp_path_factory.mktemp("quickstart")
    (folder / "cad_tasks.py").write_text(page.tasks_module(), encoding="utf-8")
    steps = page.create_and_execute().replace("/path/to/cad", str(cad_folder)) + page.query()
    report = "import json; print(json.dumps([summary, flow_file, [int(i) for i in file_list]]), flush=True)\n"
    out = run_as_notebook(steps + report, folder)
    return folder, out, len(list(cad_folder.rglob("*.step")))


class TestQuickStart:
    """The three steps, word for word, with the two paths filled in."""

    def test_it_encodes_every_file(self, finished: tuple[Path, str, int]) -> None:
        _, out, n_files = finished
        summary, _, _ = json.loads(out.strip().splitlines()[-1])
        assert summary["file_count"] == n_files
        assert {"file_count", "flow_data", "flow_info", "Duration [seconds]"} <= set(summary)

    def test_the_query_finds_the_files_with_many_faces(self, finished: tuple[Path, str, int]) -> None:
        from dflow.dataset import DatasetExplorer

        folder, out, _ = finished
        _, flow_file, found = json.loads(out.strip().splitlines()[-1])
        explorer = DatasetExplorer(flow_output_file=str(folder / flow_file))
        info = explorer.get_file_info_all()
        assert found == sorted(info.loc[info["face_count"] > 100, "id"])
        explorer.close()

    def test_the_table_of_contents_names_the_declared_array(self, finished: tuple[Path, str, int]) -> None:
        assert "areas" in finished[1]

    def test_the_output_tree_is_the_documented_one(self, finished: tuple[Path, str, int]) -> None:
        folder, _, n_files = finished
        root = folder / "output" / "flows" / "cad_pipeline"
        for name in (
            "cad_pipeline.flow",
            "cad_pipeline.infoset",
            "cad_pipeline.attribset",
            "error_summary.json",
            "flow_log.log",
        ):
            assert (root / name).is_file(), name
        assert (root / "cad_pipeline.dataset").is_dir()
        assert len(list((root / "encoded").glob("*.data"))) == n_files
        assert len(list((root / "stream_cache").glob("*.png"))) == n_files


LABELS = """
@flowtask.transform(name="label", inputs=["cad_file", "storage"], outputs=["labelled"])
def save_category(cad_file, storage):
    import pathlib
    categories = CATEGORIES
    folder = pathlib.Path(storage.load_metadata("Item")).parent.name
    storage.save_metadata("category", categories.index(folder))
    return storage.get_file_path("")

@flowtask.custom(name="aggregate", inputs=["labelled"], outputs=["summary"], parallel_execution=False)
def aggregate_results(encoded_files):
    assert all(str(f).endswith(".data") for f in encoded_files), encoded_files
    return {"summary": len(encoded_files)}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, cad_folder: Path) -> Path:
    folder = tmp_path_factory.mktemp("patterns")
    categories = sorted(p.name for p in cad_folder.iterdir())
    tasks = (
        "import glob\nfrom dflow.flowmanager import flowtask\n"
        + page.schema_builder()
        + "cad_schema = schema\n"
        + page.pattern_gathering()
        + page.pattern_encoding()
        + LABELS.replace("CATEGORIES", repr(categories))
    )
    (folder / "my_tasks.py").write_text(tasks, encoding="utf-8")
    program = f"""
import dflow
from my_tasks import gather_files, encode_cad, save_category, aggregate_results
flow = dflow.create_flow(name="my_flow", tasks=[gather_files, encode_cad, save_category, aggregate_results],
                     flows_outputdir="./output", max_workers=2)
output, summary, flow_file = flow.process(inputs={{'sources': [{str(cad_folder)!r}]}})
"""
    run_as_notebook(program, folder)
    return folder


class TestPatterns:
    """Patterns 1 to 3 in one flow, with the schema of the schema builder's block, and both routes of the category."""

    def flow_file(self, folder: Path) -> str:
        return str(folder / "output" / "flows" / "my_flow" / "my_flow.flow")

    def test_explorer_block(self, folder: Path, cad_folder: Path) -> None:
        names: dict[str, object] = {}
        exec(page.explorer_api().replace("path/to/flow.flow", self.flow_file(folder)), names)
        assert names["groups"] == ["faces", "file"]
        dist = names["dist"]
        assert isinstance(dist, dict)
        assert set(dist) >= {"bin_edges", "hist", "file_id_codes_in_bins"}
        assert sum(dist["hist"]) == len(list(cad_folder.rglob("*.step")))
        assert sorted(int(i) for ids in dist["file_id_codes_in_bins"] for i in ids) == list(range(sum(dist["hist"])))

    def test_loader_block(self, folder: Path, cad_folder: Path) -> None:
        code = page.loader_api()
        base = self.flow_file(folder).removesuffix(".flow")
        code = code.replace("path/to/flow.dataset", base + ".dataset").replace(
            "path/to/flow.infoset", base + ".infoset"
        )
        names: dict[str, object] = {}
        exec(code, names)
        sizes = [names["train_size"], names["val_size"], names["test_size"]]
        assert sum(sizes) == len(list(cad_folder.rglob("*.step")))  # type: ignore[arg-type]
        assert all(isinstance(size, int) and size > 0 for size in sizes)
        assert len(names["train_dataset"]) == sizes[0]  # type: ignore[arg-type]

    def test_pattern_3_block(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("MPLBACKEND", "Agg")
        from dflow.dataset import DatasetExplorer

        explorer = DatasetExplorer(flow_output_file=self.flow_file(folder))
        info = explorer.get_file_info_all()
        typical = info.loc[info["category"] == 5, "face_count"].min() - 1
        names: dict[str, object] = {"explorer": explorer}
        exec(page.pattern_querying().replace("> 100", f"> {typical}"), names)
        expected = info.loc[(info["face_count"] > typical) & (info["category"] == 5), "id"]
        assert list(names["file_list"]) == sorted(expected)  # type: ignore[call-overload]
        assert len(expected) > 0
        explorer.close()

    def test_logs_block(
        self, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(folder)
        exec(page.check_logs(), {})
        assert "my_flow" in capsys.readouterr().out


def test_signature_of_create_flow() -> None:
    import dflow

    text = page.create_flow_signature()
    stub = text.replace("dflow.create_flow(", "def create_flow(").rstrip() + ": ..."
    (wanted,) = ast.parse(stub).body
    assert isinstance(wanted, ast.FunctionDef)
    parameters = inspect.signature(dflow.create_flow).parameters
    assert list(parameters)[: len(wanted.args.args)] == [a.arg for a in wanted.args.args]
    defaults = dict(
        zip([a.arg for a in wanted.args.args[-len(wanted.args.defaults) :]], wanted.args.defaults, strict=True)
    )
    for name, node in defaults.items():
        assert parameters[name].default == ast.literal_eval(node), name


@pytest.mark.parametrize("source", [page.extract_signature, page.transform_signature, page.custom_signature])
def test_signatures_of_the_decorators(source: object) -> None:
    from dflow.flowmanager import flowtask

    code = "from typing import List\n" + textwrap.dedent(source())  # type: ignore[operator]
    names: dict[str, object] = {"flowtask": flowtask}
    exec(code, names)
    function = next(v for k, v in names.items() if callable(v) and hasattr(v, "_task_name"))
    tree = ast.parse(code)
    call = next(n for n in ast.walk(tree) if isinstance(n, ast.Call) and n.keywords)
    keywords = {k.arg: ast.literal_eval(k.value) for k in call.keywords}
    assert function._task_name == keywords["name"]
    assert list(function._task_inputs) == keywords["inputs"]
    assert list(function._task_outputs) == keywords["outputs"]
    assert function._parallel_execution is keywords["parallel_execution"]


def test_licence_calls_say_that_none_is_needed(capsys: pytest.CaptureFixture[str]) -> None:
    import dflow

    dflow.set_license("anything", validate=False)
    assert "no licence" in str(dflow.get_license_info()).lower()
