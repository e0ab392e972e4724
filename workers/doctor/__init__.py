"""What `doctor` asks of targets."""
