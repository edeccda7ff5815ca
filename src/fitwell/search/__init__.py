"""Hyper-parameter search: Optuna asks for recipes, the trials of fitwell answer, and the best one is put
to the same proof as a remedy."""
