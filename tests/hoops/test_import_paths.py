"""The import paths of HOOPS AI's scripts, and those that dflow's own pages named before: they give the same objects."""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path

import pytest

from tests.quickreference import page

SAME = [
    ("dflow.storage.datasetstorage.schema_builder:SchemaBuilder", "dflow.schema:SchemaBuilder"),
    ("dflow.storage.datasetstorage.schema_builder:SchemaTemplates", "dflow.schema:SchemaTemplates"),
    ("dflow.storage:LabelStorage", "dflow.hoops.label_storage:LabelStorage"),
    ("dflow.storage:CADFileRetriever", "dflow.hoops.files:CADFileRetriever"),
    ("dflow.storage:LocalStorageProvider", "dflow.hoops.files:LocalStorageProvider"),
    ("dflow.storage:convert_storage", "dflow.hoops.convert:convert_storage"),
    ("dflow.storage:open_storage", "dflow.hoops.convert:open_storage"),
    ("dflow.storage:OptStorage", "dflow.storage.opt:OptStorage"),
    ("dflow.storage:MemoryStorage", "dflow.storage.memory:MemoryStorage"),
    ("dflow.storage:JsonStorageHandler", "dflow.storage.jsonfiles:JsonStorageHandler"),
    ("dflow.insights.utils:ColorPalette", "dflow.insights:ColorPalette"),
    ("dflow.insights.utils:group_predictions_by_label", "dflow.insights:group_predictions_by_label"),
    ("dflow.insights:DatasetViewer", "dflow.insights.viewer:DatasetViewer"),
    ("dflow.insights:CADViewer", "dflow.insights.cad_viewer:CADViewer"),
    ("dflow.insights:quick_view", "dflow.insights.cad_viewer:quick_view"),
    ("dflow.cadaccess:CADLoader", "dflow.cadaccess:CadLoader"),
    ("dflow.cadaccess:HOOPSBrep", "dflow.cadaccess:Brep"),
    ("dflow.cadaccess:HOOPSLoader", "dflow.hoops.cad:HOOPSLoader"),
    ("dflow.cadaccess:HOOPSMesh", "dflow.cadaccess:Mesh"),
    ("dflow.cadaccess:HOOPSModel", "dflow.cadaccess:CadModel"),
    ("dflow.cadencoder.encode_cad_data:encode_cad_data", "dflow.hoops.encoding:encode_cad_data"),
    ("dflow.storage.datasetstorage:DatasetInfo", "dflow.hoops.merger:DatasetInfo"),
    ("dflow.storage.datasetstorage:DatasetMerger", "dflow.hoops.merger:DatasetMerger"),
    ("dflow.storage.datasetstorage:SchemaBuilder", "dflow.schema:SchemaBuilder"),
    ("dflow.storage.datasetstorage:create_cad_schema", "dflow.schema:create_cad_schema"),
    ("dflow.storage.datasetstorage.schema_templates:SchemaTemplates", "dflow.schema:SchemaTemplates"),
    ("dflow.storage.datastorage:DataStorage", "dflow.storage:DataStorage"),
    ("dflow.storage.datastorage:JsonStorageHandler", "dflow.storage:JsonStorageHandler"),
    ("dflow.storage.datastorage:MemoryStorage", "dflow.storage:MemoryStorage"),
    ("dflow.storage.datastorage:OptStorage", "dflow.storage:OptStorage"),
    ("dflow.storage.helpers:generate_unique_id_from_path", "dflow.hoops.storages:generate_unique_id_from_path"),
    ("dflow.storage.label_storage:LabelStorage", "dflow.hoops.label_storage:LabelStorage"),
    ("dflow.storage:DGLGraphStoreHandler", "dflow.hoops.graph_storage:DGLGraphStoreHandler"),
    ("dflow.storage:MLStorage", "dflow.hoops.graph_storage:MLStorage"),
    ("dflow.storage:PyGGraphStoreHandler", "dflow.hoops.graph_storage:PyGGraphStoreHandler"),
    ("dflow.cadaccess:HOOPSTools", "dflow.hoops.tools:HOOPSTools"),
    ("dflow.cadencoder:BrepEncoder", "dflow.cadencoder.encoder:BrepEncoder"),
    ("dflow.dataset:DatasetMerger", "dflow.hoops.merger:DatasetMerger"),
    ("dflow.dataset:DatasetInfo", "dflow.hoops.merger:DatasetInfo"),
    ("dflow.dataset:DatasetExplorer", "dflow.dataset.explorer:DatasetExplorer"),
    ("dflow.dataset:DatasetLoader", "dflow.dataset.loader:DatasetLoader"),
    ("dflow.flowmanager:flowtask", "dflow.flowmanager.flowtask:"),
    ("dflow.demo:run_demo", "dflow.demo.flow:run_demo"),
    ("dflow.demo:gather_files", "dflow.demo.flow:gather_files"),
    ("dflow.demo:encode_part", "dflow.demo.flow:encode_part"),
    ("dflow.cadaccess.parts:write_parts", "dflow.demo.parts:write_parts"),
    ("dflow.dataset.transforms:UnitBox", "dflow.dataset.training.transforms:UnitBox"),
    ("dflow.dataset.torch:to_geometric", "dflow.dataset.training.torch:to_geometric"),
]
"""The path that scripts use, and where the object lives."""


def find(path: str) -> object:
    module, _, name = path.partition(":")
    found = importlib.import_module(module)
    return getattr(found, name) if name else found


@pytest.mark.parametrize(("used", "home"), SAME, ids=[used for used, _ in SAME])
def test_an_import_path_of_scripts_gives_the_object_itself(used, home):
    if used.startswith("dflow.dataset.torch") and importlib.util.find_spec("torch") is None:
        pytest.skip("PyTorch is not installed")
    assert find(used) is find(home)


def test_the_package_takes_the_place_of_hoops_ai():
    import dflow as hoops_ai

    assert hoops_ai.set_license("any key", validate=False) is True
    assert hoops_ai.use_test_license() is True
    assert hoops_ai.get_license_info()["valid"] is True
    assert hoops_ai.create_flow is find("dflow.flowmanager:create_flow")


def test_every_import_of_the_quick_reference_works():
    text = Path(page.PAGE).read_text(encoding="utf-8").replace("hoops_ai", "dflow")
    lines = sorted(
        {line.strip() for line in text.splitlines() if line.strip().startswith(("from dflow", "import dflow"))}
    )
    assert len(lines) >= 6
    for line in lines:
        exec(line, {})
