"""Labels without annotators: where a turn failed, which turns pursue one goal, what a failed one should have been."""
