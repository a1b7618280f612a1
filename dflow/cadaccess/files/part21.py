"""A STEP file's DATA section as entity instances (ISO 10303-21), for files that use none of the format's rarer
features.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

_SPACE = b" \t\r\n"

_HARMLESS = (
    # The most frequent first: they are compared in this order.
    b"""CARTESIAN_POINT DIRECTION LINE VECTOR ORIENTED_EDGE PCURVE DEFINITIONAL_REPRESENTATION EDGE_CURVE
    AXIS2_PLACEMENT_3D VERTEX_POINT AXIS2_PLACEMENT_2D PLANE ADVANCED_FACE EDGE_LOOP FACE_BOUND CIRCLE"""
    # Topology and geometry that `step.traversal` supports.
    b""" ADVANCED_BREP_SHAPE_REPRESENTATION MANIFOLD_SOLID_BREP BREP_WITH_VOIDS CLOSED_SHELL ORIENTED_CLOSED_SHELL
    ADVANCED_FACE FACE_BOUND FACE_OUTER_BOUND EDGE_LOOP ORIENTED_EDGE EDGE_CURVE VERTEX_POINT CARTESIAN_POINT DIRECTION
    VECTOR AXIS1_PLACEMENT AXIS2_PLACEMENT_3D LINE CIRCLE ELLIPSE B_SPLINE_CURVE_WITH_KNOTS SURFACE_CURVE SEAM_CURVE
    INTERSECTION_CURVE PLANE CYLINDRICAL_SURFACE CONICAL_SURFACE SPHERICAL_SURFACE TOROIDAL_SURFACE
    SURFACE_OF_REVOLUTION B_SPLINE_SURFACE_WITH_KNOTS
    SHAPE_DEFINITION_REPRESENTATION SHAPE_REPRESENTATION SHAPE_REPRESENTATION_RELATIONSHIP"""
    # Curves on surfaces as the file has them: ours are computed.
    b""" PCURVE DEFINITIONAL_REPRESENTATION AXIS2_PLACEMENT_2D"""
    # Products, units, styles, layers, properties: no shape.
    b""" APPLICATION_CONTEXT APPLICATION_PROTOCOL_DEFINITION PRODUCT PRODUCT_CONTEXT MECHANICAL_CONTEXT
    PRODUCT_DEFINITION PRODUCT_DEFINITION_CONTEXT PRODUCT_DEFINITION_FORMATION
    PRODUCT_DEFINITION_FORMATION_WITH_SPECIFIED_SOURCE PRODUCT_DEFINITION_SHAPE PRODUCT_RELATED_PRODUCT_CATEGORY
    PRODUCT_CATEGORY PRODUCT_CATEGORY_RELATIONSHIP DESIGN_CONTEXT PRODUCT_TYPE
    UNCERTAINTY_MEASURE_WITH_UNIT LENGTH_MEASURE_WITH_UNIT PLANE_ANGLE_MEASURE_WITH_UNIT MASS_MEASURE_WITH_UNIT
    MEASURE_WITH_UNIT DIMENSIONAL_EXPONENTS
    DERIVED_UNIT DERIVED_UNIT_ELEMENT
    MECHANICAL_DESIGN_GEOMETRIC_PRESENTATION_REPRESENTATION STYLED_ITEM PRESENTATION_STYLE_ASSIGNMENT
    PRESENTATION_STYLE_BY_CONTEXT OVER_RIDING_STYLED_ITEM
    SURFACE_STYLE_USAGE SURFACE_SIDE_STYLE SURFACE_STYLE_FILL_AREA FILL_AREA_STYLE FILL_AREA_STYLE_COLOUR COLOUR_RGB
    SURFACE_STYLE_TRANSPARENT SURFACE_STYLE_RENDERING SURFACE_STYLE_RENDERING_WITH_PROPERTIES
    SURFACE_STYLE_BOUNDARY SURFACE_STYLE_PARAMETER_LINE SURFACE_STYLE_REFLECTANCE_AMBIENT
    DRAUGHTING_PRE_DEFINED_COLOUR DRAUGHTING_PRE_DEFINED_CURVE_FONT CURVE_STYLE PRESENTATION_LAYER_ASSIGNMENT
    PRE_DEFINED_POINT_MARKER_SYMBOL POINT_STYLE INVISIBILITY
    PROPERTY_DEFINITION PROPERTY_DEFINITION_REPRESENTATION REPRESENTATION DESCRIPTIVE_REPRESENTATION_ITEM
    MEASURE_REPRESENTATION_ITEM VALUE_REPRESENTATION_ITEM GENERAL_PROPERTY GENERAL_PROPERTY_ASSOCIATION
    MATERIAL_DESIGNATION APPLIED_GROUP_ASSIGNMENT
    PERSON ORGANIZATION PERSON_AND_ORGANIZATION PERSON_AND_ORGANIZATION_ROLE PERSONAL_ADDRESS ORGANIZATIONAL_ADDRESS
    CC_DESIGN_PERSON_AND_ORGANIZATION_ASSIGNMENT APPLIED_PERSON_AND_ORGANIZATION_ASSIGNMENT
    CC_DESIGN_DATE_AND_TIME_ASSIGNMENT APPLIED_DATE_AND_TIME_ASSIGNMENT APPLIED_DATE_ASSIGNMENT
    DATE_AND_TIME DATE_TIME_ROLE DATE_ROLE LOCAL_TIME CALENDAR_DATE COORDINATED_UNIVERSAL_TIME_OFFSET
    SECURITY_CLASSIFICATION SECURITY_CLASSIFICATION_LEVEL CC_DESIGN_SECURITY_CLASSIFICATION
    APPLIED_SECURITY_CLASSIFICATION_ASSIGNMENT
    APPROVAL APPROVAL_STATUS APPROVAL_ROLE APPROVAL_DATE_TIME APPROVAL_PERSON_ORGANIZATION CC_DESIGN_APPROVAL
    APPLIED_APPROVAL_ASSIGNMENT
    DOCUMENT DOCUMENT_TYPE DOCUMENT_FILE DOCUMENT_REFERENCE APPLIED_DOCUMENT_REFERENCE DOCUMENT_REPRESENTATION_TYPE
    DOCUMENT_PRODUCT_EQUIVALENCE DOCUMENT_PRODUCT_ASSOCIATION APPLIED_EXTERNAL_IDENTIFICATION_ASSIGNMENT
    EXTERNAL_SOURCE IDENTIFICATION_ROLE OBJECT_ROLE ROLE_ASSOCIATION NAME_ATTRIBUTE DESCRIPTION_ATTRIBUTE ID_ATTRIBUTE
    """.split()
)
"""Entities that are supported, or that carry no shape. Any other entity may carry shape."""

_IN_NUMBERS = b"0123456789.+-E"

_KINDS = bytes(3 if byte in _IN_NUMBERS else 1 if byte in _SPACE else 0 for byte in range(256))
"""Translates what numbers consist of to 3, white space to 1, and the rest to 0."""

_SPLIT_NUMBER = re.compile(rb"[\d.+E-]+\s+[\d.+E-]+")

_UNKNOWN = re.compile(rb"=(?!(?:%s)\()([A-Z0-9_]+)\(" % b"|".join(dict.fromkeys(_HARMLESS)))


class RefusedError(Exception):
    """The text has something that only the kernel can read; the message names it."""


@dataclass(frozen=True, slots=True)
class Instances:
    """A DATA section, white space outside and inside of strings removed.

    Attributes
    ----------
    text : the section.
    bodies : by ``b"#12"``, the keyword and its parameters in brackets; a complex instance begins with its bracket.
    """

    text: bytes
    bodies: dict[bytes, bytes]

    def expect(self, reference: bytes, beginning: bytes) -> bytes:
        """Return the body of an instance that must begin with `beginning`, a keyword and its bracket."""
        body = self.bodies.get(reference, b"")
        if not body.startswith(beginning):
            raise self.mismatch(reference, beginning)
        return body

    def keyword(self, reference: bytes) -> bytes:
        """Return the keyword of an instance; empty for a complex one, and for one that is missing."""
        body = self.bodies.get(reference, b"(")
        return body[: body.index(b"(")]

    def find(self, beginning: bytes) -> list[bytes]:
        """Return the instances whose body begins with `beginning`, in the order of the file."""
        found: list[bytes] = []
        at = self.text.find(b"=" + beginning)
        while at >= 0:
            found.append(self.text[self.text.rindex(b"#", 0, at) : at])
            at = self.text.find(b"=" + beginning, at + 1)
        return found

    def mismatch(self, reference: bytes, wanted: bytes) -> RefusedError:
        """Return the error for an instance that does not begin as expected."""
        found = self.keyword(reference).decode("latin-1") or "missing or complex"
        return RefusedError(f"{reference.decode('latin-1')[:40]} is {found}, {wanted.decode('latin-1')} was expected")


def scan(content: bytes) -> Instances:
    """Return the instances of a file's one DATA section.

    Raises
    ------
    RefusedError
        Comments, strings with semicolons, several sections, numbers given twice, or entities that may carry shape and
        are not supported.
    """
    text = content.translate(None, _SPACE)
    begin = text.find(b"DATA;#")
    end = text.rfind(b";ENDSEC;END-ISO-10303-21;")
    if begin < 0 or end < begin or text.count(b"ENDSEC;") != 2:
        raise RefusedError("not exactly one header and one DATA section")
    text = text[begin + 5 : end]
    if b"/" in text and b"/*" in text:  # a search for one byte costs a fiftieth of that for two
        raise RefusedError("comments among the data")
    # A doubled quote inside a string ends one piece and begins the next, with nothing between.
    if b";" in b"".join(text.split(b"'")[1::2]):
        raise RefusedError("a string with a semicolon")
    if find_split_number(content):
        raise RefusedError("a number that is split by white space")
    unknown = _UNKNOWN.findall(text)
    if unknown:
        raise RefusedError(f"{min(unknown).decode('latin-1')[:80]} among the entities")
    n_statements = text.count(b";") + 1
    bodies = _split(text, n_statements)
    if len(bodies) != n_statements:
        raise RefusedError("an instance number given twice")
    return Instances(text, bodies)


def find_split_number(content: bytes) -> bytes:
    """Return the first number of the data that white space splits, from its last character before the white space on;
    empty where there is none. Strings are skipped; the file must have no comments.
    """
    begin, end = content.find(b"ENDSEC;") + 7, content.rfind(b"ENDSEC;")
    kinds = np.frombuffer(content.translate(_KINDS), np.uint8)[begin : max(begin, end)]
    is_gap = kinds[:-2] - kinds[1:-1] == 2  # white space behind a number, and more of either behind it
    is_gap &= kinds[2:] > 0
    counted, n_quotes = begin, 0
    for at in (np.flatnonzero(is_gap) + begin).tolist():
        found = _SPLIT_NUMBER.match(content, at, end)
        if found is not None:
            n_quotes += content.count(b"'", counted, at)
            counted = at
            if n_quotes % 2 == 0:
                return found.group()
    return b""


def join_lines(string: bytes) -> bytes:
    """Return a string without the ends of lines in it, which do not belong to it: writers break long lines anywhere."""
    return string.translate(None, b"\r\n")


def _split(text: bytes, n_statements: int) -> dict[bytes, bytes]:
    """Instance numbers and bodies. No list of tuples is kept: the garbage collector would visit each of them."""
    if text.count(b"=") == n_statements:
        parts = text.replace(b";", b"=").split(b"=")
        return dict(zip(parts[::2], parts[1::2], strict=True))
    return {number: body for number, _, body in (statement.partition(b"=") for statement in text.split(b";"))}


def parse_reals(texts: list[bytes], width: int) -> np.ndarray:
    """(n, width) float64 from as many texts with commas.

    Raises
    ------
    RefusedError
        One has another number of reals, or they are no finite numbers.
    """
    if not texts:
        return np.zeros((0, width))
    if any(text.count(b",") != width - 1 for text in texts):
        raise RefusedError(f"a list of other than {width} numbers")
    joined = b",".join(texts)
    if b"_" in joined:  # which Python's numbers may have
        raise RefusedError("a number that is none")
    try:
        numbers = np.fromiter(map(float, joined.split(b",")), np.float64)
    except ValueError as error:
        raise RefusedError("a number that is none") from error
    if not np.isfinite(numbers).all():
        raise RefusedError("a number that is not finite")
    return numbers.reshape(-1, width)
