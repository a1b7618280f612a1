"""`HOOPSTools`: adaptations that return the model, exports under HOOPS AI's names."""

from __future__ import annotations

import pytest

from dflow.cadaccess import CadLoader
from dflow.demo.parts import box, write_step
from dflow.hoops.tools import HOOPSTools


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("parts") / "box.step"
    write_step(box(0, 0, 0, 2, 3, 5), path)
    return CadLoader().create_from_file(path)


def test_adaptations_return_the_model_itself(model):
    tools = HOOPSTools()
    assert tools.adapt_brep(model, tools.brep_options()) is model
    assert tools.adapt_brep(model) is model
    assert tools.adapt_tessellation(model, tools.tessellation_options()) is model


def test_options_are_the_callers_own_copy():
    tools = HOOPSTools()
    tools.brep_options()["force_compute_uv"] = False
    assert tools.brep_options() == {"force_compute_uv": True, "force_compute_3d": True}


def test_obj_has_the_boxs_eight_corners(model, tmp_path):
    HOOPSTools().exportOBJ(model, tmp_path / "box.obj")
    lines = (tmp_path / "box.obj").read_text().splitlines()
    corners = {tuple(float(word) for word in line.split()[1:4]) for line in lines if line.startswith("v ")}
    assert corners == {(x, y, z) for x in (0.0, 2.0) for y in (0.0, 3.0) for z in (0.0, 5.0)}


def test_a_step_file_is_replaced_only_on_request(model, tmp_path):
    path = tmp_path / "copy.step"
    HOOPSTools().exportSTEP(model, path)
    with pytest.raises(FileExistsError, match="overwrite=True"):
        HOOPSTools().exportSTEP(model, path)
    HOOPSTools().exportSTEP(model, path, overwrite=True)
    again = CadLoader().create_from_file(path)
    assert again.get_brep().face_areas().sum() == pytest.approx(2 * (2 * 3 + 2 * 5 + 3 * 5))
