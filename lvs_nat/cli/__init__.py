"""The face that people type."""
