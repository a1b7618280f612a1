"""What earlier runs left in a flow's folder, and whether it still holds.

`folder` and `lock` (the folder is one flow's at a time), `journal` (what is done), `fingerprint` (what the pipeline
is; `functions` are its functions as bytes), `freshness` (again or not), `reuse` (what holds, and how to say so),
`interning` (records share what is the same in all of them).
"""
