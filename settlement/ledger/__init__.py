"""The signed, append-only, verifiable log and the rules that decide what enters it."""
