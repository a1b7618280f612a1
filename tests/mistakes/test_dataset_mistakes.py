"""Mistakes with datasets, loaders and viewers: each message says what was found, what is expected, and what to do."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from dflow.cadaccess import CadLoader
from dflow.cadencoder.networks import find_network
from dflow.dataset import DatasetExplorer, DatasetLoader
from dflow.dataset.export.export import export_dataset, export_network
from dflow.dataset.export.networks import NetworkInput
from dflow.dataset.format.location import locate
from dflow.errors import DatasetError, FlowFileError, QueryError, SplitError, UnknownKeyError, UnreadableFileError
from dflow.insights import DatasetViewer, quick_view
from dflow.insights.coloring import color_faces
from dflow.storage.paths import FlowPaths
from tests.dataset.synthetic import random_parts, write_parts


@dataclass
class Opened:
    """What a user has at hand."""

    paths: FlowPaths
    explorer: DatasetExplorer
    loader: DatasetLoader
    viewer: DatasetViewer
    folder: Path


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Opened:
    folder = tmp_path_factory.mktemp("mistakes")
    paths = write_parts(random_parts(40, seed=1), folder)
    loader = DatasetLoader(paths.dataset)
    loader.split()
    explorer = DatasetExplorer(paths.flow_file)
    flows: dict[str, dict[str, Any]] = {
        "all_failed": {"file_count": 0, "submitted": 9, "failed": 9, "flow_data": None},
        "no_export": {"file_count": 3, "Flow Specifications": {"auto_dataset_export": False}},
    }
    for name, content in flows.items():
        (folder / f"{name}.flow").write_text(json.dumps({"flow_name": name, **content}))
    return Opened(paths, explorer, loader, DatasetViewer.from_explorer(explorer), folder)


def network_input(name: str) -> NetworkInput:
    network = find_network(name)
    return NetworkInput(name, network.recipe.keys, network.pack)


def another_file(path: Path) -> Path:
    path.write_text("import dflow")
    return path


FACES, WHERE = "faces", "where=lambda"
WORDS_OF_CATEGORY = "'bolt', 'nut', 'plate', 'shaft'"

# The mistake, the error, and of its message: what was found, what is expected, what to do.
Mistake = tuple[Callable[[Opened], Any], type[Exception], str, str, str]
MISTAKES: dict[str, Mistake] = {
    "the flow file of a run in which everything failed": (
        lambda o: DatasetExplorer(o.folder / "all_failed.flow"),
        FlowFileError, "names no dataset", "no file succeeded, 9 of 9 failed", "run `dflow errors` with this file",
    ),
    "the flow file of a run without export": (
        lambda o: DatasetLoader(o.folder / "no_export.flow"),
        FlowFileError, "names no dataset", "auto_dataset_export=False", "run it again without that",
    ),
    "a dataset that is not there": (
        lambda o: DatasetLoader(o.folder / "x.dataset"),
        DatasetError, "x.dataset does not exist", "a merged .dataset folder", "pass the path",
    ),
    "no path at all": (
        lambda o: DatasetExplorer(),
        DatasetError, "pass flow_output_file=", "the .flow file", "merged_store_path=",
    ),
    "another file in place of the flow file": (
        lambda o: DatasetExplorer(another_file(o.folder / "pipeline.py")),
        FlowFileError, "pipeline.py is not a .flow file", "expected the .flow file of a finished flow",
        "third value that Flow.process returns",
    ),
    "a CAD file in place of the dataset": (
        lambda o: DatasetLoader(another_file(o.folder / "part.step")),
        DatasetError, "part.step is not a dataset", "expected a merged .dataset", "pass the path of one of them",
    ),
    "the table in place of the dataset, and the reverse": (
        lambda o: DatasetLoader(o.paths.infoset, o.paths.dataset),
        DatasetError, "is passed as the .infoset table, but is a .dataset", "if the paths are swapped",
        "pass the .dataset first",
    ),
    "all that a flow returns in place of its file": (
        lambda o: DatasetExplorer((None, {}, str(o.paths.flow_file))),  # type: ignore[arg-type]
        DatasetError, "found a tuple", "expected the path of a .flow file or .dataset", "the third value that",
    ),
    "a misspelt group": (
        lambda o: o.explorer.get_group_data("face"),
        UnknownKeyError, "no group 'face'", "has edges, faces, graph, file", "is 'faces' meant?",
    ),
    "a misspelt array": (
        lambda o: o.explorer.get_array_statistics(FACES, "face_area"),
        UnknownKeyError, "'face_area'", "is 'face_areas' of 'faces' meant?", "available_arrays(group) lists",
    ),
    "a condition as text": (
        lambda o: o.explorer.get_file_list(FACES, where="face_areas > 3"),  # type: ignore[arg-type]
        QueryError, "where='face_areas > 3'", "is not a function; expected one of an xarray.Dataset", "explorer.sql",
    ),
    "a condition with `and`": (
        lambda o: o.explorer.get_file_list(FACES, lambda ds: ds["face_areas"] > 1 and ds["face_areas"] < 3),
        QueryError, "ambiguous", "not `and`, `or`", "combine conditions with & and |",
    ),
    "comparisons without brackets": (
        lambda o: o.explorer.get_file_list(FACES, lambda ds: ds["face_types"] == "Plane" & (ds["face_areas"] > 2)),
        QueryError, "'bitwise_and' not supported", "put each comparison in brackets", "(ds['x'] > 1) & (ds['y'] < 2)",
    ),
    "a condition on an array that is not there": (
        lambda o: o.explorer.get_file_list(FACES, lambda ds: ds["face_area"] > 1),
        QueryError, "No variable named 'face_area'", "It may use: ", "Did you mean",
    ),
    "a condition over two kinds of rows": (
        lambda o: o.explorer.get_file_list(FACES, lambda ds: (ds["face_areas"] > 1) & (ds["edge_lengths"] > 1)),
        QueryError, "two row dimensions, face and edge", "one condition per group", "get_file_list(where={",
    ),
    "a condition that gives numbers": (
        lambda o: o.explorer.get_file_list(FACES, lambda ds: ds["face_areas"]),
        QueryError, "returned float32 values", "booleans were expected", "compare them",
    ),
    "a word in other letters": (
        lambda o: o.explorer.get_file_list(FACES, lambda ds: ds["face_types"] == "plane"),
        QueryError, "'plane' is not a word of 'face_types'", "Expected one of 'Plane', 'Cylinder'", "is 'Plane' meant?",
    ),
    "a word among measures": (
        lambda o: o.explorer.get_file_list(FACES, lambda ds: ds["face_areas"] == "large"),
        QueryError, "found the text 'large'", "'face_areas' holds numbers", "pass a number",
    ),
    "a misspelt category": (
        lambda o: o.explorer.get_file_list(where=lambda ds: ds["category"].isin(["bolt", "nutt"])),
        QueryError, "'nutt' is not a word of 'category'", f"Expected one of {WORDS_OF_CATEGORY}", "is 'nut' meant?",
    ),
    "an array of rows as a column of the table": (
        lambda o: o.explorer.filter_files_by_metadata(face_types_label="Plane"),
        UnknownKeyError, "'face_types' is an array of the group 'faces'", "not a column of the .infoset",
        "get_file_list(group='faces', where=lambda ds: ds['face_types'] == 'Plane')",
    ),
    "a misspelt column": (
        lambda o: o.explorer.filter_files_by_metadata(categry="bolt"),
        UnknownKeyError, "'categry' is not a column", "Expected one of 'id', 'name'", "is 'category' meant?",
    ),
    "a misspelt word in the table": (
        lambda o: o.explorer.filter_files_by_metadata(category_label="blot"),
        UnknownKeyError, "'blot' is not a word of 'category'", f"Expected one of {WORDS_OF_CATEGORY}", "'bolt' meant?",
    ),
    "a misspelt subset in the table": (
        lambda o: o.explorer.filter_files_by_metadata(subset="trian"),
        UnknownKeyError, "'trian' is not a value of the column 'subset'", "Expected one of", "is 'train' meant?",
    ),
    "a number for a text": (
        lambda o: o.explorer.filter_files_by_metadata(description=3),
        UnknownKeyError, "found 3", "the column 'description' holds texts", "pass a text such as 'part_000000.step'",
    ),
    "a function of a column that is not there": (
        lambda o: o.explorer.filter_files_by_metadata(lambda files: files["volum"] > 3),
        QueryError, "'volum' is not a column", "Expected one of", "is 'volume' meant?",
    ),
    "a function that gives one truth for all rows": (
        lambda o: o.explorer.filter_files_by_metadata(lambda files: [True]),
        QueryError, "bool values of shape (1,)", "expected one boolean per row, (40,)", "files['face_count'] > 3",
    ),
    "a name that has no code": (
        lambda o: o.explorer.get_descriptions("category", "blot"),
        UnknownKeyError, "'blot' is not a word of 'category'", "Expected one of", "is 'bolt' meant?",
    ),
    "an id behind the last": (
        lambda o: o.explorer.file_dataset(400, FACES),
        UnknownKeyError, "no file id 400", "the dataset has ids", "0 to 39",
    ),
    "a reduction that is none": (
        lambda o: o.explorer.reduce(FACES, "face_areas", "median"),  # type: ignore[arg-type]
        QueryError, "no reduction 'median'", "max, min, sum", "use one of",
    ),
    "words as bins": (
        lambda o: o.explorer.create_distribution("face_types", bins=["Plane"]),  # type: ignore[list-item]
        QueryError, "bins=['Plane'] holds texts", "expected a number of bins, ascending edges", "or None: each code",
    ),
    "a misspelt word among categories": (
        lambda o: o.explorer.build_membership_matrix(FACES, "face_types", ["Plane", "Cylindr"]),  # type: ignore[list-item]
        QueryError, "'Cylindr' is not a word of 'face_types'", "Expected one of", "is 'Cylinder' meant?",
    ),
    "a misspelt word in SQL": (
        lambda o: o.explorer.sql("select * from files where category_label in ('bolt', 'blot')"),
        QueryError, "'blot' is not a word of 'category_label'", f"Expected one of {WORDS_OF_CATEGORY}", "'bolt' meant?",
    ),
    "a word for a code in SQL": (
        lambda o: o.explorer.sql("select count(*) from files where 'bolt' = files.category"),
        QueryError, "found the text 'bolt'", "category holds codes", "compare words with category_label",
    ),
    "an array of rows in SQL": (
        lambda o: o.explorer.sql("select face_areas from files"),
        QueryError, '"face_areas" not found', "their arrays no columns", "such as faces_face_areas_max; how is one of",
    ),
    "a group of rows in SQL": (
        lambda o: o.explorer.sql("select * from edges"),
        QueryError, "edges does not exist", "rows are no table", "such as edges_edge_dihedral_angles_max",
    ),
    "a misspelt key of a split": (
        lambda o: DatasetLoader(o.paths.dataset).split("categry"),
        UnknownKeyError, "'categry'", "is 'category' of 'file' meant?", "available_arrays(group) lists",
    ),
    "a misspelt word of a split": (
        lambda o: DatasetLoader(o.paths.dataset).split("category", categories="blot"),
        SplitError, "'blot' is not a word of 'category'", f"Expected one of {WORDS_OF_CATEGORY}", "is 'bolt' meant?",
    ),
    "a code that no file has": (
        lambda o: DatasetLoader(o.paths.dataset).split("category", categories=[77]),
        SplitError, "no file has one of categories=[77]", "values that occur", "or leave categories= out",
    ),
    "shares in per cent": (
        lambda o: DatasetLoader(o.paths.dataset).split(train=70, validation=15, test=15),
        SplitError, "sum to 100", "not to 1", "pass shares such as train=0.7",
    ),
    "a second, different split": (
        lambda o: o.loader.split("category"),
        SplitError, "split by 'random' already", "force_reset=True", "or call reset_split_state() first",
    ),
    "a misspelt subset": (
        lambda o: o.loader.get_dataset("val"),  # type: ignore[arg-type]
        SplitError, "no subset 'val'", "expected", "train, validation, test",
    ),
    "a split file that is not there": (
        lambda o: o.loader.load_split(o.folder / "none.split"),
        SplitError, "no split file", "none.split", "call split() first",
    ),
    "a misspelt group of columns": (
        lambda o: o.loader.get_dataset("train", columns="face"),
        UnknownKeyError, "no group 'face'", "The dataset has edges, faces", "is 'faces' meant?",
    ),
    "a column without its group": (
        lambda o: o.loader.get_dataset("train", columns=["face_areas"]),
        UnknownKeyError, "columns='face_areas' names no group", "expected a group, or an array", "'faces/face_areas'",
    ),
    "a misspelt column without its group": (
        lambda o: o.loader.statistics("face_area"),
        UnknownKeyError, "columns='face_area' names no group", "expected a group, or an array", "'faces/face_areas'",
    ),
    "a file value without its group": (
        lambda o: o.loader.get_dataset("train", columns="categry"),
        UnknownKeyError, "columns='categry' names no group", "expected a group, or an array", "'file/category'",
    ),
    "a misspelt group of labels": (
        lambda o: DatasetLoader(o.paths.dataset).split("category", group="label"),
        UnknownKeyError, "no group 'label'", "has edges, faces, graph, file, labels", "is 'labels' meant?",
    ),
    "a misspelt column of a group": (
        lambda o: o.loader.statistics("faces/face_area"),
        UnknownKeyError, "no array 'face_area' in group 'faces'", "It has face_areas", "is 'face_areas' meant?",
    ),
    "a position behind the last": (
        lambda o: o.loader.get_dataset("train")[100],
        IndexError, "no sample 100", "the subset has", "28",
    ),
    "row numbers without their rows": (
        lambda o: o.loader.get_dataset("train", columns="graph"),
        DatasetError, "graph/arc_edge, which holds row numbers of 'edges'", "a batch cannot shift them",
        "add 'edges/edge_dihedral_angles' or all of 'edges', or leave out graph/arc_edge",
    ),
    "an export that would replace": (
        lambda o: export_dataset(locate(o.paths.flow_file), o.folder, "npz"),
        DatasetError, "exists", "remove it, choose another name", "overwrite=True (--overwrite)",
    ),
    "an unknown export format": (
        lambda o: export_dataset(locate(o.paths.flow_file), o.folder / "out", "csv"),
        DatasetError, "no export format 'csv'", "expected", "parquet, npz, pyg, hdf5",
    ),
    "an export for a network that the files were not encoded for": (
        lambda o: export_network(locate(o.paths.flow_file), o.folder / "out", network_input("uvnet")),
        UnknownKeyError, "not encoded for uvnet", "it lacks graph/arc_u_grids", 'encode(network="uvnet")',
    ),
    "a share as text": (
        lambda o: DatasetLoader(o.paths.dataset).split(train="0.7"),  # type: ignore[arg-type]
        SplitError, "found train='0.7'", "must be numbers that sum to 1", "pass train= without quotation marks",
    ),
    "several keys of a split": (
        lambda o: DatasetLoader(o.paths.dataset).split(["category"]),  # type: ignore[arg-type]
        UnknownKeyError, "found ['category']", "expected one name, as text", "pass it alone",
    ),
    "a name in place of a file id": (
        lambda o: o.explorer.decode_file_id_code("LED"),  # type: ignore[arg-type]
        UnknownKeyError, "'LED' is not a file id", "expected a number, 0 to 39", "in the table explorer.files",
    ),
    "names in place of file ids": (
        lambda o: o.explorer.get_stream_cache_paths(["LED"]),  # type: ignore[list-item]
        UnknownKeyError, "'LED' is not a file id", "expected a number, 0 to 39", "in the table explorer.files",
    ),
    "names of parts to show": (
        lambda o: o.viewer.show_preview_as_image(["LED"]),  # type: ignore[list-item]
        UnknownKeyError, "found ['LED']", "expected file ids, which are numbers", "in the table explorer.files",
    ),
    "a viewer of a path": (
        lambda o: DatasetViewer.from_explorer(str(o.paths.flow_file)),
        DatasetError, "found a str", "expected an opened dataset", "pass DatasetExplorer(path)",
    ),
    "a condition in the place of the group": (
        lambda o: o.explorer.get_file_list(lambda ds: ds["face_areas"] > 1),  # type: ignore[arg-type]
        QueryError, "found a condition as group=", "expected the name of a group", "get_file_list(where=…)",
    ),
    "a number as SQL": (
        lambda o: o.explorer.sql(3),  # type: ignore[arg-type]
        QueryError, "found 3", "expected one SQL statement as text", "select * from files",
    ),
    "no path of a CAD file": (
        lambda _: CadLoader().create_from_file(None),  # type: ignore[arg-type]
        UnreadableFileError, "found None", "expected the path of a CAD file", "pass one as text or pathlib.Path",
    ),
    "something else to view": (
        lambda o: quick_view(3),  # type: ignore[arg-type]
        TypeError, "cannot show int", "expected the path of a CAD file, or a CadModel", "CadLoader().create_from_file",
    ),
    "a part that is not there": (
        lambda o: o.viewer.show_preview_as_image([99]),
        UnknownKeyError, "no part has the file id 99", "the dataset has", "0 to 39",
    ),
    "colours for other parts": (
        lambda o: color_faces([1], {2: [0]}, source=o.explorer, palette=None),
        UnknownKeyError, "no labels for the parts [1]", "expected a sequence of labels", "for every shown file id",
    ),
    "a misspelt way to display": (
        lambda o: o.viewer.show_preview_as_3d([1], display_mode="inlin"),  # type: ignore[arg-type]
        ValueError, "display_mode='inlin'", "expected one of", "inline, sidecar, none",
    ),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_an_error_that_leads_on(opened: Opened, mistake: Mistake) -> None:
    make, error, found, expected, to_do = mistake
    if "sql" in make.__code__.co_names:
        pytest.importorskip("duckdb")
    with pytest.raises(error) as caught:
        make(opened)
    for part in (found, expected, to_do):
        assert part in str(caught.value), str(caught.value)


@pytest.mark.parametrize("open_part", [DatasetExplorer, DatasetLoader])
@pytest.mark.parametrize("part", ["flow_file", "dataset", "infoset", "attribset", "root"])
def test_any_part_of_a_dataset_opens_it(opened: Opened, open_part: Callable[..., Any], part: str) -> None:
    keyword = "merged_store_path" if open_part is DatasetLoader else "flow_output_file"
    with open_part(**{keyword: getattr(opened.paths, part)}) as found:
        assert len(found) == 40
        assert found.location.infoset == opened.paths.infoset


def test_words_and_codes_give_the_same_files_everywhere(opened: Opened) -> None:
    explorer = opened.explorer
    bolts = explorer.get_file_list(where=lambda ds: ds["category"] == 0).tolist()
    assert bolts
    assert explorer.get_file_list(where=lambda ds: ds["category"] == "bolt").tolist() == bolts
    assert explorer.get_file_list(where=lambda ds: ds["category_label"] == "bolt").tolist() == bolts
    assert explorer.filter_files_by_metadata(category="bolt").tolist() == bolts
    assert explorer.filter_files_by_metadata(category_label=["bolt"]).tolist() == bolts
    matrix, _, _ = explorer.build_membership_matrix("file", "category", ["bolt"])  # type: ignore[arg-type]
    assert matrix[:, 0].nonzero()[0].tolist() == bolts
    by_word, by_code = (DatasetLoader(opened.paths.dataset) for _ in range(2))
    by_word.split("category_label", categories="bolt")
    by_code.split("category", categories=[0])
    assert by_word.get_dataset("train").file_codes.tolist() == by_code.get_dataset("train").file_codes.tolist()


def test_words_select_in_sql(opened: Opened) -> None:
    pytest.importorskip("duckdb")
    found = opened.explorer.sql("select id from files where category_label = 'bolt' order by id")["id"].tolist()
    assert found == opened.explorer.filter_files_by_metadata(category=0).tolist()
