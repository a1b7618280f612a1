"""HOOPS AI's import path for the schema builder."""
