"""Questions put to real servers, one module each."""
