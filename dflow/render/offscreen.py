"""VTK without a screen: one warm window that draws part after part."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

# Submodules, not `vtk`: importing all of VTK takes ten times longer.
from vtkmodules.util.numpy_support import numpy_to_vtk
from vtkmodules.vtkCommonCore import vtkPoints, vtkUnsignedCharArray
from vtkmodules.vtkCommonDataModel import vtkCellArray, vtkPolyData
from vtkmodules.vtkRenderingCore import vtkActor, vtkPolyDataMapper, vtkRenderer
from vtkmodules.vtkRenderingOpenGL2 import vtkEGLRenderWindow

from dflow.render import view as look
from dflow.render.mesh import MeshArrays
from dflow.render.view import View

Image = npt.NDArray[np.uint8]


class OffscreenWindow:
    """An EGL window with two actors, kept from part to part.

    Guarantees that a part's picture does not depend on the parts before it. For one thread; crashes the process where
    EGL does not work, so ask `dflow.render.probe.available_renderer` first. The first window takes about 0.1 s
    and a 256-pixel picture 2 to 5 ms of CPU time with Mesa's software rasteriser; multisampling would triple that.
    """

    def __init__(self, size: tuple[int, int]) -> None:
        # The class itself: vtkRenderWindow() would try X first and complain on stderr.
        self._window = vtkEGLRenderWindow()
        self._window.SetOffScreenRendering(1)
        self._window.SetMultiSamples(0)
        self._renderer = vtkRenderer()
        self._renderer.SetBackground(*(c / 255 for c in look.BACKGROUND_RGB))
        self._renderer.AutomaticLightCreationOff()  # shading is done per vertex, below
        self._window.AddRenderer(self._renderer)
        self._faces, face_mapper = self._add_actor()
        face_mapper.SetColorModeToDirectScalars()
        face_mapper.ScalarVisibilityOn()
        self._edges, edge_mapper = self._add_actor()
        # Edges lie in the faces' surface: push faces back and pull edges forward, or half of each edge is hidden.
        face_mapper.SetResolveCoincidentTopologyToPolygonOffset()
        face_mapper.SetRelativeCoincidentTopologyPolygonOffsetParameters(1.0, 4.0)
        edge_mapper.SetRelativeCoincidentTopologyLineOffsetParameters(-2.0, -8.0)
        self._size = size
        self._window.SetSize(*size)

    def blank(self) -> Image:
        """The picture of nothing."""
        self._fill(np.zeros((0, 3), np.float32), np.zeros((0, 3), np.int32), self._faces, lines=False)
        self._fill(np.zeros((0, 3), np.float32), np.zeros((0, 2), np.int32), self._edges, lines=True)
        return self._read()

    def draw(self, mesh: MeshArrays, view: View, *, face_colors: Image | None = None) -> Image:
        """Draw a part.

        Parameters
        ----------
        mesh : the part
        view : where the camera looks
        face_colors : (n_faces, 3) uint8 or None for the one material

        Returns
        -------
        (height, width, 3) uint8, first row on top.
        """
        self._fill(mesh.vertices, mesh.triangles, self._faces, lines=False)
        self._fill(mesh.edge_points, mesh.edge_segments, self._edges, lines=True)
        self._shade(mesh, face_colors)
        self._aim(view)
        return self._read()

    def _add_actor(self) -> tuple[Any, Any]:
        data, mapper, actor = vtkPolyData(), vtkPolyDataMapper(), vtkActor()
        mapper.SetInputData(data)
        mapper.ScalarVisibilityOff()
        actor.SetMapper(mapper)
        actor.GetProperty().LightingOff()
        actor.GetProperty().SetColor(*(c / 255 for c in look.EDGE_RGB))
        self._renderer.AddActor(actor)
        return data, mapper

    @staticmethod
    def _fill(points: Any, cells: Any, data: Any, *, lines: bool) -> None:
        # Copies (deep) are cheap beside drawing and leave no VTK object pointing into numpy's memory.
        coordinates = vtkPoints()
        coordinates.SetData(numpy_to_vtk(points, deep=True))
        data.SetPoints(coordinates)
        array = vtkCellArray()
        flat = numpy_to_vtk(np.ascontiguousarray(cells, np.int32).ravel(), deep=True)
        array.SetData(cells.shape[1], flat)
        if lines:
            data.SetLines(array)
        else:
            data.SetPolys(array)
        data.Modified()

    def _shade(self, mesh: MeshArrays, face_colors: Image | None) -> None:
        """Colours of vertices, lit here: the rasteriser's own lighting takes as long again as all the rest."""
        light = look.light(mesh.normals)[:, None]
        base = np.array(look.MATERIAL_RGB, np.float64)
        if face_colors is not None:
            base = np.asarray(face_colors, np.float64)[mesh.vertex_faces]
        colors = np.rint(light * base).astype(np.uint8)
        self._faces.GetPointData().SetScalars(numpy_to_vtk(colors, deep=True))

    def _aim(self, view: View) -> None:
        camera = self._renderer.GetActiveCamera()
        distance = 2.0 * view.half_depth + view.half_height
        camera.ParallelProjectionOn()
        camera.SetFocalPoint(*view.center)
        camera.SetPosition(*(view.center + distance * look.AXES[2]))
        camera.SetViewUp(*look.AXES[1])
        camera.SetParallelScale(view.half_height)
        camera.SetClippingRange(0.5 * view.half_height, distance + view.half_depth + view.half_height)

    def _read(self) -> Image:
        width, height = self._size
        self._window.Render()
        pixels: Any = vtkUnsignedCharArray()
        self._window.GetPixelData(0, 0, width - 1, height - 1, 0, pixels, 0)
        picture: Image = np.frombuffer(pixels, np.uint8).reshape(height, width, 3)[::-1].copy()
        return picture
