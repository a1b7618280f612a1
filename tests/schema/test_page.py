"""The HTML of a schema: a table per group and one of the metadata, with users' text escaped."""

from __future__ import annotations

from dflow.schema import Schema, SchemaBuilder
from dflow.schema.page import schema_page


def test_a_schema_without_declarations_is_its_title() -> None:
    assert schema_page(Schema(domain="parts", version="2.0", description="all")) == (
        "<div class='dflow-schema'><b>parts 2.0</b> all</div>"
    )
    assert "<b>schema 1.0</b>" in schema_page(Schema())


def test_every_declared_array_and_field_is_a_row() -> None:
    builder = SchemaBuilder("test")
    builder.create_group("faces", "face").create_array("wear", ["face", "side"], "float64", "share")
    builder.create_group("empty", "row")
    builder.define_file_metadata("mass", "float32", "kg")
    builder.define_categorical_metadata("kind", "str")
    page = schema_page(builder.schema())
    assert "<tr><td>wear</td><td>face, side</td><td>float64</td><td>share</td></tr>" in page
    assert "<tr><td>mass</td><td>file</td><td>float32</td><td>kg</td></tr>" in page
    assert "<tr><td>kind</td><td>categorical</td><td>str</td><td></td></tr>" in page
    assert page.count("<table>") == 3


def test_the_page_for_notebooks_escapes_what_users_wrote() -> None:
    builder = SchemaBuilder("<script>", description="a & b")
    builder.create_group("g", "row", "<b>").create_array("a", description="<i>")
    builder.define_file_metadata("m", "int32", "<u>")
    page = builder._repr_html_()
    assert "&lt;script&gt;" in page
    assert not any(tag in page for tag in ("<script>", "<i>", "<u>", "a & b"))
    assert page.count("<table>") == 2
    assert "g (one row per row)" in page
