"""A self-contained page that shows parts in 3D: script, meshes and colours are inside, nothing is loaded.

Untrusted text (file names, labels) enters the page as JSON and is shown as text only.
"""

from __future__ import annotations

import base64
import html
import importlib.resources
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from dflow.insights.palette import Rgb

POLICY = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:"
"""Content security policy: an injected script could neither load nor send anything."""
SERVED_POLICY = f"{POLICY}; connect-src 'self'"

_PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="{policy}">
<link rel="icon" href="data:,"><title>dflow parts</title>
<style>
body {{ margin: 0; font: 13px system-ui, sans-serif; color: #222; background: #fff }}
#parts {{ display: flex; flex-wrap: wrap; gap: 8px; padding: 4px }}
figure {{ margin: 0; width: {width}px }}
canvas {{ width: {width}px; height: {height}px; border: 1px solid #d5d9de; border-radius: 4px; display: block }}
figcaption {{ padding: 3px 2px; overflow: hidden; text-overflow: ellipsis; white-space: nowrap }}
.face {{ color: #666; float: right }}
ul {{ list-style: none; margin: 0; padding: 2px 6px; display: flex; flex-wrap: wrap; gap: 2px 14px }}
li span {{ display: inline-block; width: 11px; height: 11px; margin-right: 5px; border-radius: 2px }}
</style></head><body>
<div id="parts"></div><ul id="legend"></ul>
<script type="application/json" id="data">{data}</script>
<script>{script}
{start}</script>
</body></html>
"""

_START = """
const data = JSON.parse(document.getElementById("data").textContent);
window.views = data.parts.map(part => {
  const figure = document.createElement("figure"), canvas = document.createElement("canvas");
  const caption = document.createElement("figcaption"), face = document.createElement("span");
  face.className = "face";
  caption.append(face, part.label);
  caption.title = part.label;
  figure.append(canvas, caption);
  document.getElementById("parts").append(figure);
  if (!part.mesh) { face.textContent = part.missing; return null; }
  try {
    const onPick = index => {
      face.textContent = index < 0 ? "" : "face " + index + (part.faceLabels ? ": " + part.faceLabels[index] : "");
      if (data.served) fetch("selection", {method: "POST", body: JSON.stringify([...view.selected])});
    };
    const view = new PartView(canvas, {onPick});
    view.setFaceColors(part.faceColors);
    view.load(Uint8Array.from(atob(part.mesh), letter => letter.charCodeAt(0)).buffer);
    return view;
  } catch (error) { face.textContent = error.message; return null; }
});
for (const [color, text] of data.legend) {
  const item = document.createElement("li"), patch = document.createElement("span");
  patch.style.background = "rgb(" + color.map(Number).join(",") + ")";
  item.append(patch, text);
  document.getElementById("legend").append(item);
}
"""


@dataclass(frozen=True, slots=True)
class PagePart:
    """One part of a page: `mesh` is binary glTF, or None for the reason `missing`; colours and labels are per face."""

    label: str
    mesh: bytes | None
    missing: str = "no 3D data"
    face_colors: Sequence[Sequence[int]] | None = None
    face_labels: Sequence[str] | None = None


def part_page(
    parts: Sequence[PagePart],
    *,
    size: tuple[int, int] = (400, 400),
    legend: Sequence[tuple[Rgb, str]] = (),
    served: bool = False,
) -> str:
    """Return the page's HTML, of 14 KB and four thirds of the meshes. A `served` page reports the selected faces."""
    data = {
        "parts": [
            {
                "label": part.label,
                "mesh": None if part.mesh is None else base64.b64encode(part.mesh).decode("ascii"),
                "missing": part.missing,
                "faceColors": None if part.face_colors is None else [[int(c) for c in rgb] for rgb in part.face_colors],
                "faceLabels": None if part.face_labels is None else [str(label) for label in part.face_labels],
            }
            for part in parts
        ],
        "legend": [[list(color), text] for color, text in legend],
        "served": served,
    }
    policy = SERVED_POLICY if served else POLICY
    return _PAGE.format(
        policy=policy, width=size[0], height=size[1], data=script_json(data), script=viewer_script(), start=_START
    )


def frame_page(page: str, *, width: int | str, height: int) -> str:
    """Return an inline frame that holds the page; its script runs sandboxed, without the notebook's rights."""
    style = f"border:0;width:{width}{'px' if isinstance(width, int) else ''};height:{height}px"
    return (
        f'<iframe sandbox="allow-scripts" srcdoc="{html.escape(page, quote=True)}" '
        f'style="{html.escape(style, quote=True)}"></iframe>'
    )


def script_json(value: Any) -> str:
    """Return JSON for a script element; escapes ensure that it cannot end the element or begin a comment."""
    text = json.dumps(value, ensure_ascii=True, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def viewer_script() -> str:
    """Return the source of dflow's WebGL viewer."""
    return importlib.resources.files("dflow.insights").joinpath("static/part_view.js").read_text("utf-8")
