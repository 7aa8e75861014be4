"""Quick methods of scikit-learn that a score has to be compared with."""
