"""What `doctor` looks at: findings, the directory's Redis, tokens, and a provider's first steps."""
