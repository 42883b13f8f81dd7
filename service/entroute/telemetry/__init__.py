"""Beside the walk: metrics and log lines, made from finished traces."""
