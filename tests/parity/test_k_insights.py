"""K: looking at parts."""

from __future__ import annotations

import json
import time
import urllib.request

import numpy as np
import pytest
from distributed import Client, LocalCluster

import dflow
from dflow.flowmanager import flowtask
from dflow.insights import CADViewer, ColorPalette, DatasetViewer, group_predictions_by_label, quick_view


@pytest.fixture(scope="module")
def viewer(explorer):
    return DatasetViewer.from_explorer(explorer)


@pytest.fixture(scope="module")
def mesh_file(explorer):
    return explorer.get_stream_cache_paths([0])["stream_cache_3d"].iloc[0]


def test_k01_a_viewer_is_made_from_an_explorer(viewer):
    assert viewer.get_available_file_ids() == list(range(12))


def test_k02_pictures_are_shown_in_a_grid(viewer, tmp_path):
    figure = viewer.show_preview_as_image(
        np.arange(12),
        k=6,
        grid_cols=3,
        figsize=(4, 3),
        label_format="both",
        title="Parts",
        save_path=tmp_path / "a.png",
    )
    assert (tmp_path / "a.png").stat().st_size > 10_000
    assert len(figure.axes[0].images) == 6


def test_k03_parts_are_shown_in_three_dimensions(viewer, tmp_path):
    viewers = viewer.show_preview_as_3d([0, 3], k=5, display_mode="none", save_path=tmp_path / "parts.html")
    assert len(viewers) == 2
    assert "webgl" in (tmp_path / "parts.html").read_text()


def test_k04_parts_are_compared_counted_and_filtered(viewer, capsys):
    assert len(viewer.create_comparison_view([0, 1], [2, 3]).axes[0].images) == 4
    assert viewer.filter_by_availability([0, 1], require_png=True, require_3d=True) == [0, 1]
    assert 12 in viewer.get_statistics().values()
    viewer.print_statistics()
    assert "12" in capsys.readouterr().out
    assert viewer.get_file_info(0)["png_available"]


def test_k05_faces_are_coloured_and_selected(mesh_file):
    with quick_view(mesh_file) as viewer:
        assert isinstance(viewer, CADViewer)
        viewer.set_face_color([0], [255, 0, 0])
        assert viewer.get_status()["n_colored_faces"] == 1
        viewer.color_faces_by_groups([([1, 2], (0, 255, 0), "milled")])
        assert viewer.get_status()["n_colored_faces"] == 2
        viewer.clear_face_colors()
        assert viewer.get_status()["n_colored_faces"] == 0
        chosen = urllib.request.Request(viewer.get_viewer_url() + "selection", b"[3, 1]", method="POST")
        with urllib.request.urlopen(chosen, timeout=60):
            assert viewer.get_selected_faces() == [1, 3]


def test_k06_labels_have_colours():
    palette = ColorPalette.from_labels({0: "turned", 1: "milled"}, cmap_name="hsv", reserved_colors={0: (9, 9, 9)})
    assert tuple(palette.get_color(0)) == (9, 9, 9)
    assert palette.get_description(1) == "milled"
    groups = group_predictions_by_label([0, 1, 1, 0], palette, exclude_labels=[0])
    assert [(faces, text) for faces, _, text in groups] == [([1, 2], "milled")]


def test_k07_a_running_flow_is_seen_on_the_dashboard(tmp_path):
    @flowtask.transform(inputs=["number"])
    def work(number):
        return number

    def snapshot(client):
        address = str(client.dashboard_link).rsplit("/", 1)[0] + "/dflow.json"
        with urllib.request.urlopen(address, timeout=60) as answer:
            return json.load(answer)

    with (
        LocalCluster(
            n_workers=1, threads_per_worker=1, processes=False, protocol="tcp", dashboard_address="127.0.0.1:0"
        ) as cluster,
        Client(cluster) as client,
    ):
        flow = dflow.create_flow("watched", [work], tmp_path, cluster=client, export_visualization=False)
        flow.process(inputs={"number": [1, 2, 3]}, progress=False)
        end = time.monotonic() + 60
        while (runs := snapshot(client)["runs"])[-1]["status"] == "running" and time.monotonic() < end:
            time.sleep(0.1)
    assert runs[-1]["flow"] == "watched"
    assert runs[-1]["tasks"]["work"]["succeeded"] == 3
