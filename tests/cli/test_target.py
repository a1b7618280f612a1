"""The flow or dataset that a path on the command line leads to."""

from __future__ import annotations

import shutil
from pathlib import Path

import click
import pytest

from dflow.cli.target import Target, TargetPath, merged
from tests.cli.programs import invoke


@pytest.mark.parametrize("way", ["flow_file", "root", "dataset", "above", "out"])
def test_every_way_to_name_a_flow(made, way):
    target = {"above": made.root.parent, "out": made.root.parent.parent}.get(way) or getattr(made, way)
    assert "GROUP faces" in invoke("info", target).output


def test_a_dataset_alone_is_enough(paths, tmp_path):
    alone = tmp_path / "alone" / "x.dataset"
    shutil.copytree(paths.dataset, alone)
    result = invoke("info", alone)
    assert result.exit_code == 0
    assert "(no .infoset)" in result.output
    assert invoke("validate", alone.parent).exit_code == 0


def test_what_is_no_flow_is_wrong_usage(paths, tmp_path):
    (tmp_path / "empty").mkdir()
    assert "holds no flow and no dataset" in invoke("info", tmp_path / "empty").output
    second = paths.root.parent / "second"
    second.mkdir()
    (second / "second.flow").write_text("{}")
    result = invoke("info", tmp_path)
    assert result.exit_code == 2
    assert "holds 2 flows" in result.output
    assert "flows/second/second.flow" in result.output
    assert "is neither a .flow file nor" in invoke("info", paths.infoset).output
    damaged = invoke("info", second)
    assert damaged.exit_code == 1
    assert "not a .flow file" in damaged.stderr


@pytest.mark.parametrize("command", [("validate",), ("export", "--to", "npz", "--out", "never")])
def test_a_flow_that_stopped_early_has_nothing_to_validate_or_export(tmp_path, command):
    root = tmp_path / "flows" / "numbers"
    root.mkdir(parents=True)
    (root / "error_summary.json").write_text("[]")
    result = invoke(command[0], root, *command[1:])
    assert result.exit_code == 2
    assert f"{root} holds no dataset yet; run the flow to its end." in result.output


def test_a_flow_file_leads_to_its_folder_and_dataset(made):
    assert TargetPath()(str(made.flow_file)) == Target(made.root, made.flow_file, made.dataset)
    assert TargetPath()(str(made.dataset)) == Target(made.root, made.flow_file, made.dataset)


def test_a_flow_without_a_dataset_has_none(paths):
    shutil.rmtree(paths.dataset)
    target = TargetPath()(str(paths.root))
    assert target == Target(paths.root, paths.flow_file)
    assert merged(target) is target


def test_hidden_folders_are_not_searched(made, tmp_path):
    shutil.copytree(made.root, tmp_path / ".trash")
    with pytest.raises(click.BadParameter, match="holds no flow and no dataset"):
        TargetPath()(str(tmp_path))


def test_a_path_that_does_not_exist_is_named_without_escape_sequences(tmp_path):
    with pytest.raises(click.BadParameter, match=r"go\\x1bne does not exist") as caught:
        TargetPath()(str(tmp_path / "go\x1bne"))
    assert str(Path(tmp_path)) in caught.value.message
