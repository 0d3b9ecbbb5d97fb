"""What lvs-nat costs and how fast it is, measured beside the programs that it stands in for."""
