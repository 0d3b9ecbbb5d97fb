"""A Linux Virtual Server director in NAT mode, as one small service."""

__version__ = "0.1.0"
