"""What `policy_zoo` adds to an evaluation: what policies cost to compute, and the most that was to be had."""
