"""How numbers, names and findings are put into words."""
