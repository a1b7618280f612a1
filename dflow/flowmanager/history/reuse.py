"""What of an earlier run still holds, and how to say so."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from dflow.flowmanager.history.fingerprint import Fingerprint, changes
from dflow.flowmanager.history.journal import Entry, JournalState
from dflow.storage.container import size_and_directory_crc
from dflow.storage.paths import DATA_SUFFIX


@dataclass(slots=True)
class Reuse:
    """Counts of one stage: `hashes` are the contents that workers compare before doing an item again."""

    n_reused: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    hashes: dict[int, str] = field(default_factory=dict)

    def count(self, reason: str) -> None:
        """One more item has to be done again."""
        self.reasons[reason] += 1

    def lines(self, stage: str, state: JournalState, current: Fingerprint) -> list[str]:
        """The same for people: what is reused, what is not and why."""
        lines = [
            f"{stage}: {self.n_reused} items reused, {sum(self.reasons.values())} to do, {len(self.hashes)} to compare"
        ]
        lines += [f"{stage}: {count} items: {reason}" for reason, count in self.reasons.most_common()]
        if "the pipeline changed" in self.reasons:
            lines += [f"{stage}: since the last run, {change}" for change in _what_changed(state, current)]
        lines += [f"{stage}: not part of the fingerprint: {unknown}" for unknown in current.unknown]
        return lines


def stores_are_whole(entry: Entry, folder: str) -> bool:
    """Whether every store that an entry speaks of is in `folder`, of its size, with its directory's checksum."""
    for record in entry.records:
        for sample in record.samples:
            path = f"{folder}/{sample.name}{DATA_SUFFIX}"
            if size_and_directory_crc(path) != (sample.n_bytes, sample.data_crc):
                return False
    return True


def _what_changed(state: JournalState, current: Fingerprint) -> tuple[str, ...]:
    """Against the pipeline that most entries come from."""
    used = Counter(entry.fingerprint for entry in state.entries.values() if entry.fingerprint != current.digest)
    if not used:
        return ()
    latest = used.most_common(1)[0][0]
    return changes(state.pipelines.get(latest, {}), dict(current.parts))
