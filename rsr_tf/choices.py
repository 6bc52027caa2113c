"""The names that a user chooses from; here once, and without an import."""

SUITES = ("full", "paper", "standard-random", "quick")
"""Suites of attacks, the strongest first."""
