"""Parts of the experiment hierarchical_position_mlm."""
