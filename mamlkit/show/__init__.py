"""Plots, widgets, live pages, exercises and reports."""
