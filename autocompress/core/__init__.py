"""Values, errors and text formats that the whole package uses. Imports no torch and no database."""
