"""What earlier runs left in a flow's folder, and whether it still holds.

`folder` and `lock` (the folder is one flow's at a time), `journal` (what is done), `fingerprint` (what the pipeline
is: `loaded` the code that runs, whatever its file says by now, `imports` the modules that it loads as it runs;
`functions` are its functions as bytes), `freshness` (again or not), `reuse` (what holds, and how to say so),
`interning` (records share what is the same in all of them).
"""
