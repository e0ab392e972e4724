"""Access as values, pure: what is desired, what is there, and the statements between the two."""
