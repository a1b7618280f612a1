"""Faces of a STEP file's text that the kernel did not make, or made of statements that it could not read.

The kernel leaves out a face that it cannot build and continues. It notes that, and statements whose parameters are not
expected, in lists that are cheap to read. The text is parsed only where these lists have an entry, or where fewer faces
were read than the text has.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator

from OCP.Interface import Interface_CheckIterator, Interface_CheckTool
from OCP.STEPControl import STEPControl_Reader

_FACE = re.compile(rb"=\s*(?:ADVANCED_FACE|FACE_SURFACE)\s*\(")
_COMMENT_OR_STRING = re.compile(rb"/\*.*?\*/|('[^']*(?:''[^']*)*')", re.DOTALL)
_STATEMENT = re.compile(rb"#\s*(\d+)\s*=\s*((?:'[^']*(?:''[^']*)*'|[^;'])*);", re.DOTALL)
_STRING = re.compile(rb"'[^']*(?:''[^']*)*'")
_REFERENCE = re.compile(rb"#\s*(\d+)")
_KEYWORD = re.compile(rb"\(?\s*(\w+)")
_NAME = re.compile(rb"\w+\s*\(\s*'([^']*(?:''[^']*)*)'")

_DOUBTS = ("not a Real", "not an Integer", "unresolved", "illegal type", "Count of Parameters")
"""The kernel's messages about statements that it cannot read; other faults (a name that is no string) do no harm."""


def find_broken_face(content: bytes, reader: STEPControl_Reader) -> str:
    """Return a message about the first face that depends on a statement which the reader cannot read; "" where none
    does.

    To be called before the transfer: some such statements crash the process.
    """
    session = reader.WS()
    if not session.Model().Reports(False).NbEntities():
        return ""
    found = _messages(Interface_CheckTool(session.Model(), session.Protocol()).AnalyseCheckList())
    doubts = [(number, text) for number, text in found if any(doubt in text for doubt in _DOUBTS)]
    return _Statements(content).find_broken_face(doubts) if doubts else ""


def find_missing_face(
    content: bytes, reader: STEPControl_Reader, n_faces: int, count_unhealed: Callable[[], int]
) -> str:
    """Return a message about the first face that the kernel left out; "" where none is missing.

    Parameters
    ----------
    n_faces : how many different faces were read.
    count_unhealed : returns how many there are without healing, which may remove faces without area.
    """
    notes = _messages(reader.WS().TransferReader().TransientProcess().CheckList(False))
    for number, text in notes:
        if "not mapped to TopoDS" in text:
            return _Statements(content).describe(number, "is left out by the kernel, which cannot make it")
    if content.count(b"FACE") <= n_faces or len(_FACE.findall(content)) <= n_faces:
        return ""
    wanted = _Statements(content).count_faces()
    if wanted > n_faces and (made := count_unhealed()) < wanted:
        return f"{wanted - made} of the {wanted} faces of its products are left out by the kernel"
    return ""


def _messages(checks: Interface_CheckIterator) -> Iterator[tuple[int, str]]:
    """(statement's number in the order of the file from 1, what is wrong with it)."""
    checks.Start()
    while checks.More():
        number, check = checks.Number(), checks.Value()
        yield from ((number, str(check.CFail(i))) for i in range(1, check.NbFails() + 1))
        yield from ((number, str(check.CWarning(i))) for i in range(1, check.NbWarnings() + 1))
        checks.Next()


class _Statements:
    """The statements of a file, by instance number, in their order."""

    def __init__(self, content: bytes) -> None:
        text = _COMMENT_OR_STRING.sub(lambda found: found.group(1) or b" ", content)
        found = _STATEMENT.findall(text[text.find(b"DATA") :])
        self.order = [number for number, _ in found]
        self.texts = dict(found)

    def describe(self, position: int, what: str) -> str:
        """Return a message about the statement at a position from 1."""
        return self._describe(self.order[position - 1] if 0 < position <= len(self.order) else b"?", what)

    def _describe(self, number: bytes, what: str) -> str:
        named = _NAME.match(self.texts.get(number, b""))
        name = named.group(1).decode("latin-1").replace("''", "'") if named else ""
        return f"face #{number.decode()}{f' ({name!r})' if name else ''} {what}"

    def find_broken_face(self, faults: list[tuple[int, str]]) -> str:
        """The first face of the products that rests on one of these statements; "" where none does."""
        wrong = {self.order[n - 1]: text for n, text in faults if 0 < n <= len(self.order)}
        for face in self._faces():
            for number in self._below([face], through=lambda keyword: keyword != b"PCURVE"):
                if number in wrong and "(associated_geometry)" not in wrong[number]:
                    what = f"rests on #{number.decode()}, which the kernel cannot read: {wrong[number]}"
                    return self._describe(face, what)
        return ""

    def count_faces(self) -> int:
        """Return how many faces the shapes of the file's products have."""
        return len(self._faces())

    def _faces(self) -> list[bytes]:
        """The faces of the representations of the file's products, and of those related to them."""
        starts = [
            _references(text)[-1] for text in self.texts.values() if text.startswith(b"SHAPE_DEFINITION_REPRESENTATION")
        ]
        related = [
            _references(text)[:2] for text in self.texts.values() if b"SHAPE_REPRESENTATION_RELATIONSHIP" in text
        ]
        reached = set(starts) if starts else set(self.texts)
        while more := {one for pair in related if reached & set(pair) for one in pair} - reached:
            reached |= more
        return [n for n in self._below(reached) if self._keyword(n) in (b"ADVANCED_FACE", b"FACE_SURFACE")]

    def _below(self, starts: Iterable[bytes], through: Callable[[bytes], bool] = bool) -> Iterator[bytes]:
        """These statements and all that they refer to, each once, none below a keyword that is not gone `through`."""
        stack, seen = list(starts), set(starts)
        while stack:
            number = stack.pop()
            yield number
            if not through(self._keyword(number)):
                continue
            fresh = [r for r in _references(self.texts.get(number, b"")) if r not in seen]
            seen.update(fresh)
            stack += fresh

    def _keyword(self, number: bytes) -> bytes:
        found = _KEYWORD.match(self.texts.get(number, b""))
        return found.group(1) if found else b"?"


def _references(text: bytes) -> list[bytes]:
    return _REFERENCE.findall(_STRING.sub(b"", text))
