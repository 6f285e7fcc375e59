"""Pages to read: each one file, with texts, figures and tables in it and nothing outside it."""
