"""How it is measured: levels, spectra, speech, distances of two signals, opinions of models."""
