"""Hands: each module owns one piece of the machine and decides nothing."""
