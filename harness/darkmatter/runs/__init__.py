"""From a suite to results: what to run, under which key, and in which order."""
