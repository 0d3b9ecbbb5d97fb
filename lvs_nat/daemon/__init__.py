"""The face that runs: the director, its prober and what joins them."""
