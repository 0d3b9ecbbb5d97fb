"""Decisions: pure functions of values; no socket, file, clock, log or await."""
