"""The study of the estimators: what is run (`cells`), one log of it (`replicate`), what is read off it (`score`)."""
