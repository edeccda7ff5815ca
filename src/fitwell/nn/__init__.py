"""Building parts of networks: activations, normalisation, initial weights, losses."""
