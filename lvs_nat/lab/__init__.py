"""The tutorial's lab: a kernel with IPVS, and a small network on it."""
