"""What the main job costs at several sizes, and what the naive way would: the measurements behind docs/scale.md."""
