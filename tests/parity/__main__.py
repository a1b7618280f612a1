"""``python -m tests.parity``: the table of HOOPS AI's features, and the counts by priority and status."""

from __future__ import annotations

from collections import Counter

from tests.parity.rows import ROWS
from tests.parity.table import lines

print("\n".join(lines()))
print()
for (priority, status), count in sorted(Counter((row.priority, row.status) for row in ROWS).items()):
    print(f"{priority:3} {status:13} {count:4}")
