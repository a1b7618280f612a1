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


def test_repair_makes_the_damaged_shard_anew_and_says_so(paths):
    shard = max(paths.dataset.rglob("c.0*"), key=lambda path: path.stat().st_size)
    sound = shard.read_bytes()
    shard.write_bytes(sound[:-1])
    result = invoke("validate", "--repair", paths.root)
    assert result.exit_code == 0, result.output
    assert f"repaired: {shard.relative_to(paths.dataset)}: merged again from 2 samples" in result.output
    assert shard.read_bytes() == sound
    paths.flow_file.write_text(paths.flow_file.read_text().replace("numbers", "numb3rs", 1))
    assert invoke("validate", paths.root).exit_code == 1
    assert "put back from its copy" in invoke("validate", "--repair", paths.flow_file).output
    shard.write_bytes(b"")
    for data in paths.encoded.iterdir():
        data.write_bytes(b"")
    result = invoke("validate", "--repair", paths.dataset, "--json")
    answer = json.loads(result.output)
    assert (result.exit_code, answer["sound"], answer["repaired"]) == (1, False, [])
    assert any("run the flow again" in line for line in answer["not_repaired"])


def test_a_missing_table_is_a_problem(paths):
    paths.infoset.unlink()
    result = invoke("validate", paths.flow_file)
    assert result.exit_code == 1
    assert "numbers.infoset" in result.output + result.stderr
