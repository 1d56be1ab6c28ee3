"""Entries of each kind, in the folders of the package: `tests/test_extending*.py` add them to a copy of it.

An entry is one file; nothing else of the package is changed. To cover another kind, add its file here and a test there.
"""
