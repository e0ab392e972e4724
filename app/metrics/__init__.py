"""Figures for Prometheus: what processes count, and what Redis knows of lanes, tokens, tenants."""
