"""Recipes: their arrays, and the sizes that their networks take."""

from __future__ import annotations

import pytest

from dflow.cadencoder.features import ARRAY_KEYS
from dflow.cadencoder.recipes import RECIPES, find_recipe
from dflow.errors import RecipeError
from dflow.schema import standard_array


def test_every_array_of_a_recipe_is_known_and_standard():
    for recipe in RECIPES.values():
        assert set(recipe.keys) <= set(ARRAY_KEYS)
    assert all(standard_array(*key.split("/")) is not None for key in ARRAY_KEYS)


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_is_found_by_its_name_and_lists_each_array_once(name):
    recipe = find_recipe(name)
    assert recipe.name == name
    assert len(set(recipe.keys)) == len(recipe.keys)


def test_grids_have_the_sizes_of_uv_net_and_brepmfr():
    assert find_recipe("uvnet").options.face_grid_shape == (10, 10)
    assert find_recipe("brepmfr").options.face_grid_shape == (5, 5)
    assert find_recipe("brepmfr").options.path_length == 32


def test_an_unknown_recipe_lists_the_existing_ones():
    with pytest.raises(RecipeError, match="no recipe 'uv-net'; the recipes are minimal, uvnet, brepmfr, brepnet"):
        find_recipe("uv-net")
    assert issubclass(RecipeError, ValueError)
