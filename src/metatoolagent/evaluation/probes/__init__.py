"""What the predictions of the probes say."""
