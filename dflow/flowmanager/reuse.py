"""What of an earlier run still holds, and how to say so."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from dflow.errors import StorageError
from dflow.flowmanager.fingerprint import Fingerprint, changes
from dflow.flowmanager.journal import Entry, JournalState
from dflow.storage.paths import FlowPaths
from dflow.storage.zarrzip import store_crc


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


def stores_are_whole(entry: Entry, paths: FlowPaths) -> bool:
    """Whether every store that an entry speaks of is there, of its size, with its directory's checksum."""
    for record in entry.records:
        for sample in record.samples:
            path = paths.data_file(sample.name)
            try:
                if path.stat().st_size != sample.n_bytes or store_crc(path) != sample.data_crc:
                    return False
            except (OSError, StorageError):
                return False
    return True


def _what_changed(state: JournalState, current: Fingerprint) -> tuple[str, ...]:
    """Against the pipeline that most entries come from."""
    used = Counter(entry.fingerprint for entry in state.entries.values() if entry.fingerprint != current.digest)
    if not used:
        return ()
    latest = used.most_common(1)[0][0]
    return changes(state.pipelines.get(latest, {}), dict(current.parts))
