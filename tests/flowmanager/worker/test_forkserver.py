"""What the process that children come from has loaded before it forks."""

from __future__ import annotations

import subprocess
import sys


def test_children_find_what_previews_need_loaded():
    program = (
        "import sys\n"
        "from dflow.flowmanager.worker import forkserver\n"
        "forkserver.warm_up()\n"
        "print('dflow.cadaccess.tessellation.mesh' in sys.modules)\n"
        "forkserver.warm_up_previews()\n"
        "print('dflow.cadaccess.tessellation.mesh' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=280)
    assert done.stdout.split() == ["False", "True"]
