"""Probes: evaluation tasks that ask what accuracy alone does not tell, on our own unseen tools."""
