"""How it is measured: levels, spectra, speech, distances between two signals, opinions of models."""
