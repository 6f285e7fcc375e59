"""Judging predictions: figures, intervals, calibration, decisions, subgroups, comparisons.

Numbers come from one set of modules and figures, drawn from the tables those write, from
`melanoma.evaluation.figures` alone.
"""
