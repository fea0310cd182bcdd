"""raysys: how good a student for how many queries to a black-box teacher.

Importing this package costs nothing: no torch, no ray.
"""

__version__ = "0.1.0"
