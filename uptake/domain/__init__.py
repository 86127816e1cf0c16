"""The rules, pure: no clock, no I/O, no randomness. What each rule means for one row."""
