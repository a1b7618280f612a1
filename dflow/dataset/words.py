"""The vocabularies of text arrays: which words occur, in which block, and what their codes are."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from dflow.records import ShardRecord


@dataclass(frozen=True, slots=True, eq=False)
class Vocabularies:
    """The sorted words of each text array, by ``group/name``, and those of each block, by (group, index).

    A word's code is its place in the sorted vocabulary, so codes never depend on the order of work. A block's node
    gets the codes of its own words only: names that are unique a face would otherwise travel whole to every node.
    """

    words: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    in_blocks: Mapping[tuple[str, int], Mapping[str, tuple[str, ...]]] = field(default_factory=dict)

    def codes(self, group: str, index: int) -> dict[str, dict[str, int]]:
        """The codes of the words of one block, by text array."""
        found = self.in_blocks.get((group, index), {})
        return {key: {word: bisect_left(self.words[key], word) for word in words} for key, words in found.items()}


def unite(keys: Iterable[str], records: Iterable[ShardRecord]) -> Vocabularies:
    """The vocabularies of the text arrays `keys`, from what was gathered block by block."""
    words: dict[str, set[str]] = {key: set() for key in keys}
    in_blocks = {}
    for record in records:
        in_blocks[record.group, record.shard_index] = record.words
        for key, found in record.words.items():
            words[key].update(found)
    return Vocabularies({key: tuple(sorted(found)) for key, found in words.items()}, in_blocks)
