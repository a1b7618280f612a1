"""``dflow validate``: sound datasets, and damaged ones."""

from __future__ import annotations

import json

from tests.cli.programs import invoke


def test_a_sound_dataset_is_valid_and_a_flipped_byte_is_found(paths):
    result = invoke("validate", paths.root)
    assert (result.exit_code, result.output) == (0, f"{paths.dataset}: sound\n")
    shard = max(paths.dataset.rglob("c.0*"), key=lambda path: path.stat().st_size)
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)
    result = invoke("validate", paths.flow_file)
    assert result.exit_code == 1
    assert str(shard.relative_to(paths.dataset)) in result.output
    answer = json.loads(invoke("validate", paths.dataset, "--json").output)
    assert answer["sound"] is False
    assert len(answer["problems"]) == 1


def test_a_missing_table_is_a_problem(paths):
    paths.infoset.unlink()
    result = invoke("validate", paths.flow_file)
    assert result.exit_code == 1
    assert "numbers.infoset" in result.output + result.stderr
