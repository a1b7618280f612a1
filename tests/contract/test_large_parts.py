"""Parts with too many faces for pair arrays: refused with a way out, or kept without them; more memory cures them."""

from __future__ import annotations

from dflow.cadencoder import BrepEncoder
from dflow.flowmanager import create_flow, flowtask
from dflow.schema import standard_group
from tests.cadaccess import solids
from tests.contract.running import Run, run_flow

BOX_BYTES = 36 * 4 * (1 + 32 + 64 + 64)
"""Of brepmfr's arrays with a row for every pair of a box's six faces."""


def transform_of(too_big: str):
    @flowtask.transform(name="encode", inputs=["file"])
    def encode(file, cad_loader, storage):
        brep = cad_loader.create_from_file(file).get_brep()
        BrepEncoder(brep, storage).encode("brepmfr", too_big=too_big)

    return encode


def parts(folder) -> list[str]:
    """A box and a box with a pocket, of six and of eleven faces."""
    shapes = {"box.step": solids.box(), "pocket.step": solids.pocket()}
    for name, shape in shapes.items():
        solids.write_step(shape, folder / name)
    return [str(folder / name) for name in shapes]


def test_a_part_beyond_the_memory_fails_and_is_taken_up_with_more(tmp_path):
    tasks, inputs = [transform_of("fail")], {"files": parts(tmp_path)}
    settings = {"debug": True, "export_visualization": False}
    flow = create_flow("large", tasks, tmp_path, memory_limit=4 * BOX_BYTES, **settings)
    output, _, flow_file = flow.process(inputs, progress=False)
    assert [(error.kind, error.file.rpartition("/")[2]) for error in output.errors] == [("too_big", "pocket.step")]

    assert "raise memory_limit" in output.errors[0].message
    assert 'too_big="leave_out"' in output.errors[0].message

    again = create_flow("large", tasks, tmp_path, memory_limit=16 * BOX_BYTES, **settings)
    output, _, flow_file = again.process(inputs, progress=False)
    assert not output.errors
    assert output.counts.reused == 1
    assert Run(output, {}, flow_file).group("faceface").sizes["facepair"] == 6**2 + 11**2


def test_pair_arrays_left_out_cost_nothing_else_and_the_dataset_says_so(tmp_path):
    run = run_flow(tmp_path, [transform_of("leave_out")], {"files": parts(tmp_path)}, memory_limit=4 * BOX_BYTES)
    assert not run.output.errors
    file = run.group("file")
    order = run.info().sort_values("id").index.str.rpartition("/").get_level_values(2).tolist()
    for name in standard_group("faceface").arrays:
        assert dict(zip(order, file[f"has_faceface_{name}"].values.tolist(), strict=True)) == {
            "box.step": True,
            "pocket.step": False,
        }
    assert run.group("faces").sizes["face"] == 17
    assert run.group("faceface").sizes["facepair"] == 36
