"""The experiment ``gelu``: constants found anew, and networks of each activation."""
