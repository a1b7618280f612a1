"""The Dataset that a condition is called with: its columns of codes compare with words."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import xarray as xr

from dflow.dataset.query.vocabulary import LABEL_SUFFIX, Vocabularies

Translate = Callable[[Iterable[Any]], list[Any]]
"""Replaces words among values by codes; raises `QueryError` for unknown ones."""


class CodedDataset(xr.Dataset):  # type: ignore[no-untyped-call]  # xarray's __init_subclass__ has no types
    """A Dataset whose variables are `CodedArray`; ``<name>_label`` is another name of a variable with a vocabulary."""

    __slots__ = ("groups", "vocabularies")

    @classmethod
    def of(cls, data: Any, groups: dict[str, str], vocabularies: Vocabularies) -> CodedDataset:
        """Make a Dataset of variables; `groups` maps their names to their groups."""
        dataset = cls(data)
        dataset.groups, dataset.vocabularies = groups, vocabularies
        return dataset

    def __getitem__(self, key: Any) -> Any:
        vocabularies: Vocabularies | None = getattr(self, "vocabularies", None)
        if vocabularies is None or not isinstance(key, str):
            return super().__getitem__(key)
        coded = key.removesuffix(LABEL_SUFFIX)
        if key not in self.variables and vocabularies.words(coded, self.groups.get(coded, "")):
            key = coded
        group = self.groups.get(key, "")
        array: xr.DataArray = super().__getitem__(key)
        return CodedArray.of(array, lambda values: vocabularies.codes(key, values, group=group))


class CodedArray(xr.DataArray):  # type: ignore[no-untyped-call]  # the same
    """A column as it is stored, which can be compared with words: ``==``, ``!=`` and `isin`.

    Results of arithmetic are plain numbers, which cannot.
    """

    __slots__ = ("translate",)

    @classmethod
    def of(cls, array: xr.DataArray, translate: Translate) -> CodedArray:
        """View an array, without reading it."""
        view = cls(array.variable, array._coords, name=array.name, indexes=array._indexes, fastpath=True)
        view.translate = translate
        return view

    def __eq__(self, other: Any) -> Any:
        translate: Translate | None = getattr(self, "translate", None)
        if translate is None or not isinstance(other, str):
            return super().__eq__(other)
        codes = translate([other])
        return super().__eq__(codes[0]) if len(codes) == 1 else super().isin(codes)

    def __ne__(self, other: Any) -> Any:
        return ~(self == other) if isinstance(other, str) and hasattr(self, "translate") else super().__ne__(other)

    __hash__ = None  # as in xarray: equality is elementwise

    def isin(self, test_elements: Any) -> Any:
        """Return which values are among some values or words."""
        translate: Translate | None = getattr(self, "translate", None)
        if translate is not None and isinstance(test_elements, (list, tuple, set, frozenset)):
            test_elements = translate(test_elements)
        return super().isin(test_elements)
