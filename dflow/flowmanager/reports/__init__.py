"""What is told of a run: while it goes on, and when it is over.

* Meanwhile: `progress` (typed events), `bars` and `notebookbars`, `monitorfeed` (to the dashboard's page), `flowlog`.
* Afterwards: `flowoutput` (what ``process`` returns), `outputs` (the files), `report` (the table), `runfacts` and
  `timeline` (``run.json``), `runreport` and `runcharts` (``report.html``), `drawing` (the flow as a picture).
"""
