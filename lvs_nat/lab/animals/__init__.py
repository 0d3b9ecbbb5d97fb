"""Servers that are well or ill in one way each, for checks to be tried on."""
