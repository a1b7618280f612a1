"""A 20-file flow on a given scheduler: does this cluster work for dflow?

    python cluster/smoke_test.py                                # this machine
    python cluster/smoke_test.py --cluster tcp://host:8786      # a running scheduler
    python cluster/smoke_test.py --cluster slurm --out /shared/smoke

Exit code 0 when all twenty files are in the dataset, 1 otherwise. The output folder must be visible to the workers.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import dflow
from dflow.dataset import DatasetExplorer
from dflow.demo.flow import encode_part, gather_files
from dflow.demo.parts import write_parts

N_FILES = 20


def main(arguments: list[str] | None = None) -> int:
    """Run the flow and compare the dataset with the files."""
    parser = argparse.ArgumentParser(description="Run a 20-file dflow flow on a cluster.")
    parser.add_argument("--cluster", default=None, help="scheduler address or profile name; omitted: this machine")
    parser.add_argument("--out", default="smoke_output", help="folder that client and workers can see")
    parser.add_argument("--workers", type=int, default=None, help="worker processes")
    options = parser.parse_args(arguments)

    out = Path(options.out).resolve()
    write_parts(out / "parts", n_parts=N_FILES)
    flow = dflow.create_flow(
        name="smoke",
        tasks=[gather_files, encode_part],
        flows_outputdir=str(out),
        max_workers=options.workers,
        cluster=options.cluster,
    )
    _, summary, flow_file = flow.process(inputs={"sources": [str(out / "parts")]}, clean_output_dir=True)
    explorer = DatasetExplorer(flow_output_file=flow_file)
    n_samples = len(explorer.get_file_info_all())
    explorer.close()
    print(f"{summary['file_count']} of {N_FILES} files encoded, {n_samples} samples in {summary['flow_data']}")
    return 0 if summary["file_count"] == n_samples == N_FILES else 1


if __name__ == "__main__":
    sys.exit(main())
