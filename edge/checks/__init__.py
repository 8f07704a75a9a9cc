"""The checks that look for one thing: an object in its place, a variant, a code, what the user's own model counts."""
