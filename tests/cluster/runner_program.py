"""Run by srun, once a task: SLURMRunner makes one of them the scheduler, one the client, the rest workers."""

from __future__ import annotations

import sys
from pathlib import Path

from dask_jobqueue.slurm import SLURMRunner
from distributed import Client

import dflow
from tests.cluster.slow_tasks import encode_slowly, gather


def main(parts: str, out: str) -> None:
    Path(out).mkdir(parents=True, exist_ok=True)
    with (
        SLURMRunner(scheduler_file=f"{out}/scheduler-{{job_id}}.json", scheduler_options={"interface": "lo"}) as runner,
        Client(runner) as client,
    ):
        client.wait_for_workers(runner.n_workers)
        flow = dflow.create_flow(name="parts", tasks=[gather, encode_slowly], flows_outputdir=out)
        _, summary, _ = flow.process(inputs={"sources": [parts]})
        print("finished", summary["file_count"], flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
