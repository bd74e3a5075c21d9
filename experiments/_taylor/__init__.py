"""Classifiers with Taylor softmax: what taylor_softmax_classify trains and judges."""
