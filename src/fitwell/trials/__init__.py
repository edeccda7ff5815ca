"""Trials: variants on folds with seeds, and the statistics that turn them into verdicts."""
