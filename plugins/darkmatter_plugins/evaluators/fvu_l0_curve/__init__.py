"""FVU over L0, beside the curves of baselines."""
