"""Training a generator: recipe, data, coarse sketches, crops, losses, steps, records and the run's folder."""
