"""What operators agreed on and owe each other, for the operators it names."""
