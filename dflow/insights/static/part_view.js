// A part in 3D: reads the binary glTF that dflow writes, draws it with WebGL 2, rotates, zooms, pans, picks faces.
// Self-contained: it loads nothing, and adds text to the page only as text.
"use strict";

class PartView {
  // canvas: where to draw; options.onPick(face or -1): called on a click.
  constructor(canvas, options = {}) {
    this.canvas = canvas;
    this.onPick = options.onPick || (() => {});
    this.selected = new Set();
    this.faceColors = null;
    this.mesh = null;
    const gl = canvas.getContext("webgl2", {antialias: true, preserveDrawingBuffer: true});
    if (!gl) throw new Error("this browser has no WebGL 2");
    this.gl = gl;
    this.program = link(gl, VERTEX, FRAGMENT);
    this.texture = gl.createTexture();
    this.listen();
    new ResizeObserver(() => this.draw()).observe(canvas);
  }

  // Show the part in an ArrayBuffer of binary glTF; throws if dflow did not write it.
  load(buffer) {
    this.mesh = parseGlb(buffer);
    this.selected.clear();
    const gl = this.gl;
    this.faces = this.mesh.triangles ? upload(gl, this.mesh.triangles) : null;
    this.lines = this.mesh.lines ? upload(gl, this.mesh.lines) : null;
    this.resetView();
    this.setFaceColors(this.faceColors);
  }

  // colors: array of [red, green, blue] by face index, or null for the one material.
  setFaceColors(colors) {
    this.faceColors = colors;
    if (!this.mesh) return;
    const gl = this.gl, width = 1024, count = Math.max(1, this.mesh.faceCount);
    const height = Math.ceil(count / width), data = new Uint8Array(width * height * 4);
    for (let i = 0; i < count; i++) {
      const color = (colors && colors[i]) || MATERIAL;
      data.set([color[0], color[1], color[2], this.selected.has(i) ? 255 : 0], 4 * i);
    }
    gl.bindTexture(gl.TEXTURE_2D, this.texture);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, width, height, 0, gl.RGBA, gl.UNSIGNED_BYTE, data);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, gl.NEAREST);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MAG_FILTER, gl.NEAREST);
    this.draw();
  }

  select(faces) {
    this.selected = new Set(faces);
    this.setFaceColors(this.faceColors);
  }

  resetView() {
    this.azimuth = -Math.PI / 4;
    this.elevation = Math.asin(1 / Math.sqrt(3));
    this.zoom = this.mesh ? this.fittingZoom() : 1;
    this.pan = [0, 0];
    this.draw();
  }

  // The zoom at which the projection of the part's bounding box just fits the canvas.
  fittingZoom() {
    const [right, up] = this.axes(), {size, radius} = this.mesh;
    const {clientWidth: width, clientHeight: height} = this.canvas, tighter = Math.min(width, height) || 1;
    const reach = axis => axis.reduce((sum, value, i) => sum + Math.abs(value) * size[i], 0) / 2 / radius;
    const zoom = Math.min((width || 1) / tighter / reach(right), (height || 1) / tighter / reach(up));
    return Number.isFinite(zoom) ? 0.97 * zoom : 1;
  }

  // The rows right, up and towards the viewer.
  axes() {
    const a = this.azimuth, e = this.elevation;
    const toViewer = [Math.cos(e) * Math.cos(a), Math.cos(e) * Math.sin(a), Math.sin(e)];
    const right = [-Math.sin(a), Math.cos(a), 0];
    const up = [-Math.sin(e) * Math.cos(a), -Math.sin(e) * Math.sin(a), Math.cos(e)];
    return [right, up, toViewer];
  }

  draw() {
    if (!this.mesh) return;
    const gl = this.gl, ratio = window.devicePixelRatio || 1;
    this.canvas.width = Math.max(1, Math.round(this.canvas.clientWidth * ratio));
    this.canvas.height = Math.max(1, Math.round(this.canvas.clientHeight * ratio));
    this.render(false);
  }

  render(picking) {
    const gl = this.gl, p = this.program, [right, up, toViewer] = this.axes();
    const {width, height} = this.canvas, {low, scale, center, radius} = this.mesh;
    gl.viewport(0, 0, width, height);
    gl.clearColor(1, 1, 1, picking ? 0 : 1);
    gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
    gl.enable(gl.DEPTH_TEST);
    gl.useProgram(p.handle);
    const fit = this.zoom / (radius * 1.05), tighter = Math.min(width, height);
    gl.uniform3fv(p.at("right"), right);
    gl.uniform3fv(p.at("up"), up);
    gl.uniform3fv(p.at("toViewer"), toViewer);
    gl.uniform3f(p.at("shift"), low[0] - center[0], low[1] - center[1], low[2] - center[2]);
    gl.uniform1f(p.at("scale"), scale);
    gl.uniform3f(p.at("fit"), fit * tighter / width, fit * tighter / height, 1 / (radius * 4));
    gl.uniform2fv(p.at("pan"), this.pan);
    gl.activeTexture(gl.TEXTURE0);
    gl.bindTexture(gl.TEXTURE_2D, this.texture);
    gl.uniform1i(p.at("faceColors"), 0);
    if (this.faces) {
      gl.uniform1i(p.at("mode"), picking ? 2 : 0);
      gl.uniform1f(p.at("lift"), 0);
      drawPart(gl, this.faces, gl.TRIANGLES);
    }
    if (this.lines && !picking) {
      // Edges lie in the surface: lift them by two pixels (polygonOffset shows hidden edges on some drivers).
      gl.uniform1f(p.at("lift"), 4 / (fit * tighter));
      gl.uniform1i(p.at("mode"), 1);
      drawPart(gl, this.lines, gl.LINES);
    }
  }

  // The face under a point of the page, -1 for none.
  faceAt(clientX, clientY) {
    if (!this.mesh || !this.faces) return -1;
    const box = this.canvas.getBoundingClientRect(), gl = this.gl;
    const x = Math.floor((clientX - box.left) / box.width * this.canvas.width);
    const y = Math.floor((box.bottom - clientY) / box.height * this.canvas.height);
    this.render(true);
    const pixel = new Uint8Array(4);
    gl.readPixels(x, y, 1, 1, gl.RGBA, gl.UNSIGNED_BYTE, pixel);
    this.render(false);
    return pixel[3] === 0 ? -1 : pixel[0] + 256 * pixel[1] + 65536 * pixel[2];
  }

  listen() {
    const canvas = this.canvas;
    let held = null;
    canvas.style.touchAction = "none";
    canvas.addEventListener("contextmenu", event => event.preventDefault());
    canvas.addEventListener("pointerdown", event => {
      held = {x: event.clientX, y: event.clientY, moved: false, pan: event.button !== 0 || event.shiftKey};
      canvas.setPointerCapture(event.pointerId);
    });
    canvas.addEventListener("pointermove", event => {
      if (!held) return;
      const dx = event.clientX - held.x, dy = event.clientY - held.y;
      if (Math.abs(dx) + Math.abs(dy) < 3 && !held.moved) return;
      Object.assign(held, {x: event.clientX, y: event.clientY, moved: true});
      if (held.pan) {
        this.pan[0] += 2 * dx / canvas.clientWidth;
        this.pan[1] -= 2 * dy / canvas.clientHeight;
      } else {
        this.azimuth -= dx * 0.01;
        this.elevation = Math.max(-1.57, Math.min(1.57, this.elevation + dy * 0.01));
      }
      this.draw();
    });
    canvas.addEventListener("pointerup", event => {
      if (held && !held.moved) {
        const face = this.faceAt(event.clientX, event.clientY);
        const more = event.ctrlKey || event.metaKey, chosen = new Set(more ? this.selected : []);
        if (face >= 0) chosen.has(face) ? chosen.delete(face) : chosen.add(face);
        this.select(chosen);
        this.onPick(face);
      }
      held = null;
    });
    canvas.addEventListener("dblclick", () => this.resetView());
    canvas.addEventListener("wheel", event => {
      event.preventDefault();
      this.zoom = Math.max(0.1, Math.min(200, this.zoom * Math.exp(-event.deltaY * 0.0015)));
      this.draw();
    }, {passive: false});
  }
}

const MATERIAL = [172, 193, 218];

const VERTEX = `#version 300 es
in vec3 position; in vec3 normal; in float face;
uniform vec3 right, up, toViewer, shift, fit; uniform vec2 pan; uniform float scale, lift;
out vec3 seenNormal; flat out int faceIndex;
void main() {
  vec3 world = position * scale + shift;
  vec3 seen = vec3(dot(world, right), dot(world, up), dot(world, toViewer));
  gl_Position = vec4(seen.xy * fit.xy + pan, -(seen.z + lift) * fit.z, 1.0);
  seenNormal = vec3(dot(normal, right), dot(normal, up), dot(normal, toViewer));
  faceIndex = int(face + 0.5);
}`;

const FRAGMENT = `#version 300 es
precision highp float; precision highp int;
in vec3 seenNormal; flat in int faceIndex;
uniform int mode; uniform sampler2D faceColors;
out vec4 color;
void main() {
  if (mode == 1) { color = vec4(0.125, 0.149, 0.188, 1.0); return; }
  if (mode == 2) {
    color = vec4(float(faceIndex & 255), float((faceIndex >> 8) & 255), float((faceIndex >> 16) & 255), 255.0) / 255.0;
    return;
  }
  vec3 n = normalize(seenNormal);
  if (n.z < 0.0) n = -n;
  float light = min(1.0, 0.34 + 0.42 * max(0.0, dot(n, vec3(-0.371, 0.743, 0.557))) + 0.42 * n.z);
  vec4 base = texelFetch(faceColors, ivec2(faceIndex % 1024, faceIndex / 1024), 0);
  vec3 shown = mix(base.rgb, vec3(1.0, 0.62, 0.1), base.a * 0.75);
  color = vec4(shown * light, 1.0);
}`;

function link(gl, vertex, fragment) {
  const handle = gl.createProgram();
  for (const [kind, text] of [[gl.VERTEX_SHADER, vertex], [gl.FRAGMENT_SHADER, fragment]]) {
    const shader = gl.createShader(kind);
    gl.shaderSource(shader, text);
    gl.compileShader(shader);
    if (!gl.getShaderParameter(shader, gl.COMPILE_STATUS)) throw new Error(gl.getShaderInfoLog(shader));
    gl.attachShader(handle, shader);
  }
  ["position", "normal", "face"].forEach((name, index) => gl.bindAttribLocation(handle, index, name));
  gl.linkProgram(handle);
  const places = {};
  return {handle, at: name => places[name] || (places[name] = gl.getUniformLocation(handle, name))};
}

function parseGlb(buffer) {
  const view = new DataView(buffer);
  if (buffer.byteLength < 28 || view.getUint32(0, true) !== 0x46546c67) throw new Error("not a binary glTF file");
  const textLength = view.getUint32(12, true);
  const doc = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 20, textLength)));
  const binary = 28 + textLength, node = doc.nodes[0], scale = node.scale[0], low = node.translation;
  const mesh = {triangles: null, lines: null, scale, low, faceCount: 0};
  let high = [0, 0, 0];
  for (const primitive of doc.meshes[0].primitives) {
    const position = doc.accessors[primitive.attributes.POSITION];
    const part = {buffer, doc, binary, attributes: primitive.attributes, indices: doc.accessors[primitive.indices]};
    high = high.map((value, axis) => Math.max(value, position.max[axis]));
    if (primitive.mode === 4) { mesh.triangles = part; mesh.faceCount = countFaces(part); } else mesh.lines = part;
  }
  mesh.center = low.map((value, axis) => value + scale * high[axis] / 2);
  mesh.size = high.map(value => value * scale);
  mesh.radius = Math.max(1e-9, Math.hypot(...high) * scale / 2);
  return mesh;
}

function countFaces({buffer, doc, binary, attributes}) {
  const accessor = doc.accessors[attributes._FACE], view = doc.bufferViews[accessor.bufferView];
  const data = new DataView(buffer, binary + view.byteOffset + (accessor.byteOffset || 0));
  let highest = -1;
  for (let i = 0; i < accessor.count; i++) {
    const at = i * view.byteStride;
    highest = Math.max(highest, accessor.componentType === 5126 ? data.getFloat32(at, true) : data.getUint16(at, true));
  }
  return highest + 1;
}

function upload(gl, {buffer, doc, binary, attributes, indices}) {
  const array = gl.createVertexArray();
  gl.bindVertexArray(array);
  const names = {POSITION: 0, NORMAL: 1, _FACE: 2};
  for (const [name, index] of Object.entries(attributes)) {
    const accessor = doc.accessors[index], view = doc.bufferViews[accessor.bufferView];
    gl.bindBuffer(gl.ARRAY_BUFFER, gl.createBuffer());
    gl.bufferData(gl.ARRAY_BUFFER, new Uint8Array(buffer, binary + view.byteOffset, view.byteLength), gl.STATIC_DRAW);
    gl.enableVertexAttribArray(names[name]);
    gl.vertexAttribPointer(names[name], accessor.type === "VEC3" ? 3 : 1, accessor.componentType,
      Boolean(accessor.normalized), view.byteStride, accessor.byteOffset || 0);
  }
  const view = doc.bufferViews[indices.bufferView];
  gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, gl.createBuffer());
  gl.bufferData(gl.ELEMENT_ARRAY_BUFFER, new Uint8Array(buffer, binary + view.byteOffset, view.byteLength), gl.STATIC_DRAW);
  gl.bindVertexArray(null);
  return {array, count: indices.count, type: indices.componentType};
}

function drawPart(gl, part, primitive) {
  gl.bindVertexArray(part.array);
  gl.drawElements(primitive, part.count, part.type, 0);
  gl.bindVertexArray(null);
}
