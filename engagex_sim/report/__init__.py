"""The answer as sentences, figures, one page and files."""
