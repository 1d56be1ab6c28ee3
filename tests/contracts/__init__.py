"""Tests that each implementation of a protocol must pass: a test class inherits one and says how to open the implementation."""
