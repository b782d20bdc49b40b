"""What operators agreed on and owe each other: proposals and obligations, for their parties."""
