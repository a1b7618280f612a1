"""Import path of the schema builder in HOOPS AI."""
