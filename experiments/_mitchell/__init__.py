"""The experiment ``mitchell``: networks whose products are integer additions."""
